"""Versions of the models in a store."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from polyhost.model_cache.model_url import ModelData

_MAX_FILES = 2000  # of an unpacked model that are looked at

FileState = tuple[str, int, int]  # path below the folder, size, time of modification in nanoseconds


@dataclass(frozen=True)
class ModelVersion:
    """What lies in the store under a model's name: one state of an archive, or of an unpacked model folder.

    `etag` changes with the content. `folder` is the model directory of an unpacked model, which is served where it
    lies; `files` are its files when they were looked at.
    """

    target: str
    etag: str
    place: ModelData
    folder: str = ""
    files: tuple[FileState, ...] = ()

    @property
    def number(self) -> str:
        """Twelve digits that stand for the ETag in names, logs and lists."""
        return hashlib.sha256(self.etag.encode()).hexdigest()[:12]

    @property
    def id(self) -> str:
        """The name by which the cache knows it; two versions of a model lie side by side for a while."""
        return f"{self.target}@{self.number}"

    def is_unchanged(self) -> bool:
        """Return whether the files of an unpacked model are as they were.

        Others are not looked at: a model may write into its folder.
        """
        return all(_state(Path(self.folder), name) == (name, size, mtime) for name, size, mtime in self.files)


def unpacked_version(target: str, place: ModelData, folder: Path) -> ModelVersion:
    """Return the version of an unpacked model folder. Raises OSError."""
    inner = folder / "model"  # as SageMaker unpacks archives: NAME/model
    if inner.is_dir() and [entry.name for entry in folder.iterdir()] == ["model"]:
        folder = inner
    files = tuple(sorted(_states(folder)))
    etag = hashlib.sha256(repr(files).encode()).hexdigest()
    return ModelVersion(target, etag, place, str(folder), files)


def _states(folder: Path) -> Iterator[FileState]:
    count = 0
    for top, _, names in os.walk(folder):
        for name in names:
            count += 1
            state = _state(folder, str(Path(top, name).relative_to(folder)))
            if state is not None:
                yield state
            if count >= _MAX_FILES:
                return


def _state(folder: Path, name: str) -> FileState | None:
    try:
        status = (folder / name).stat()
    except OSError:
        return None
    return name, status.st_size, status.st_mtime_ns
