"""What is on the disk across restarts: beside each unpacked archive lies a record of where it came from."""

import contextlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path

from polyhost.container.model_store.source.versions import ModelVersion
from polyhost.model_cache.disk_cache import key_of
from polyhost.model_cache.interfaces import UnpackedArchive
from polyhost.model_cache.model_url import ModelData

_RECORD = "archive.json"


def write(root: Path, version: ModelVersion, archive: UnpackedArchive) -> None:
    """Write the record of an archive that has just been unpacked. Raises OSError."""
    folder = root / key_of(version.id)
    record = {
        "target": version.target,
        "place": asdict(version.place),
        "etag": version.etag,
        "archive": asdict(archive),
    }
    new = folder / f".{_RECORD}"
    new.write_text(json.dumps(record))
    new.replace(folder / _RECORD)


def recover(root: Path, prefix: ModelData) -> list[tuple[ModelVersion, UnpackedArchive]]:
    """Return the archives that an earlier container left, the least recently unpacked first; remove everything else."""
    found = []
    for folder in sorted(root.iterdir(), key=_time_of_record):
        if (read := _read(folder)) is not None and read[0].place == prefix.join(read[0].target):
            found.append(read)
        elif folder.is_dir() and not folder.is_symlink():  # of another store, or of a container that was killed
            shutil.rmtree(folder, ignore_errors=True)
    return found


def _read(folder: Path) -> tuple[ModelVersion, UnpackedArchive] | None:
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        record = json.loads((folder / _RECORD).read_text())
        version = ModelVersion(record["target"], record["etag"], ModelData(**record["place"]))
        if key_of(version.id) == folder.name and (folder / "model").is_dir():
            return version, UnpackedArchive(**record["archive"])
    return None


def _time_of_record(folder: Path) -> float:
    try:
        return (folder / _RECORD).stat().st_mtime
    except OSError:
        return 0.0
