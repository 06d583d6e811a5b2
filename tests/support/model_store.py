"""Models of a store for real containers: archives of fixture models, put there as one should."""

import io
import tarfile
from pathlib import Path

from tests.support.models import MODELS

TARGET = "X-Amzn-SageMaker-Target-Model"


def archive_of(kind: str, **files: str) -> bytes:
    """Return the archive of a fixture model; `files` replace or add to its own, with `__` for a dot."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        tar.add(MODELS / kind, arcname=".")
        for name, content in files.items():
            member = tarfile.TarInfo(name.replace("__", "."))
            member.size = len(content.encode())
            tar.addfile(member, io.BytesIO(content.encode()))
    return stream.getvalue()


def says(text: str) -> bytes:
    """Return the archive of a model that answers with this text."""
    script = f"def model_fn(d): return 1\ndef transform_fn(m, b, c, a): return {text!r}, 'text/plain'\n"
    return archive_of("empty", inference__py=script)


def put(folder: Path, name: str, content: bytes) -> None:
    """Put an archive into a folder at once, whole."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(content)
    new.replace(path)
