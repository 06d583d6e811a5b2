"""Model archives for the small container."""

import gzip
import io
import json
import tarfile
from typing import Any


def archive(name: str, **settings: Any) -> bytes:
    """Return an archive whose model behaves as the settings in `model.json` say.

    load_seconds, load_status, unload_status: how long a load takes, and responses to loads and unloads.
    load_mark: a file that a load waits for.
    megabytes: memory that the loaded model holds.
    invoke_mark: a file that an invocation waits for.
    invoke_seconds, status: how long an invocation takes, and the response's status.
    journal: a file to which an invocation, when it has waited, adds a line with its inference ID.
    exit: status with which an invocation ends the container.
    prints: whether an invocation prints what it would respond.
    quotes, padding: whether the response has the request's body, and how many more bytes.
    chunks, chunk_seconds: chunks of a streamed response, and the pause after each; null breaks the connection.
    chunk_marks: a folder; each chunk but the first waits there for a file named for the number of chunks before it.
    """
    return packed({"model.json": json.dumps({"name": name, **settings}).encode()})


def packed(files: dict[str, bytes]) -> bytes:
    """Return an archive with these files; the same ones always give the same bytes, as ids of tests must."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return gzip.compress(content.getvalue(), mtime=0)
