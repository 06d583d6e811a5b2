"""Small models that say who they are and where they run."""

import io
import os
import tarfile
from pathlib import Path

REPLICA = "BENCH_REPLICA"
"""The variable that tells a replica's models its name."""

_SCRIPT = f"""import os

NAME = {{name!r}}


def model_fn(model_dir):
    return NAME + " " + os.environ["{REPLICA}"]


def transform_fn(model, body, content_type, accept):
    return model, "text/plain"
"""


def make_store(folder: Path, count: int, padding_bytes: int = 0) -> list[str]:
    """Write the archives of `count` models, and return their names. The padding does not get smaller when packed."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"m{number}.tar.gz" for number in range(count)]
    for name in names:
        (folder / name).write_bytes(archive(name, padding_bytes))
    return names


def archive(name: str, padding_bytes: int = 0) -> bytes:
    """Return the archive of a model that answers with its name and its replica's."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as tar:
        _add(tar, "inference.py", _SCRIPT.format(name=name).encode())
        if padding_bytes:
            _add(tar, "weights.bin", os.urandom(padding_bytes))
    return stream.getvalue()


def unpacked_bytes(archive: Path) -> int:
    """Return what an archive's files have together."""
    with tarfile.open(archive) as tar:
        return sum(member.size for member in tar)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
