"""Archives of models for the small container."""

import io
import json
import tarfile
from typing import Any


def archive(name: str, **settings: Any) -> bytes:
    """`settings`: load_seconds, load_status, unload_status, megabytes, invoke_seconds, status, exit, pieces,
    piece_seconds."""
    return packed({"model.json": json.dumps({"name": name, **settings}).encode()})


def packed(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return content.getvalue()
