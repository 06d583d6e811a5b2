"""Which models are copies of one archive, whatever their code has written into their folders.

A model is known by the names and sizes of its archive's files. Its code may add others as soon as it runs: bytecode,
caches, downloads, logs. Of a folder that was loaded before, the files that have changed since its archive was unpacked
do not count, if what is left is that archive. Bytecode never counts.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from polyhost.container.memory.state_file import StateFile

# Of one folder: a look at a file takes microseconds, during which the fork server does nothing else.
MAX_FILES = 2_000
_MAX_FOLDERS = 20_000
_WHEELS = b"/code/wheels/"
_BYTECODE_FOLDER, _BYTECODE = "__pycache__", ".pyc"


class Fingerprint(NamedTuple):
    """Identifies a model by its framework and its archive's files."""

    framework: str
    key: str
    size: int  # of all files, in bytes


class _File(NamedTuple):
    name: bytes  # relative to the model directory
    size: int
    changed: int  # st_ctime_ns, which no program can set, unlike st_mtime_ns: tar and zip do


@dataclass(frozen=True)
class _Loaded:
    """What a folder held when it was first loaded."""

    key: str
    changed: int  # when the last of these files was written


class Fingerprints:
    """Computes fingerprints; remembers, across restarts, what each folder held before its model's code ran."""

    def __init__(self, path: Path | None) -> None:
        self._file = StateFile(path, _loaded_from)
        self._loaded: dict[str, _Loaded] = self._file.read()

    def of(self, framework: str, directory: Path) -> Fingerprint:
        """Return the fingerprint of the archive that was unpacked into this folder; to be taken before a load."""
        files = sorted(_files(directory))
        folder = os.path.realpath(directory)
        earlier = self._loaded.get(folder)
        if earlier is not None:
            found = _fingerprint(framework, [file for file in files if file.changed <= earlier.changed])
            if found.key == earlier.key:
                return found
        found = _fingerprint(framework, files)
        self._remember(folder, _Loaded(found.key, max((file.changed for file in files), default=0)))
        return found

    def save(self) -> None:
        """Write the file, if there is something new."""
        self._file.save(lambda: {folder: [known.key, known.changed] for folder, known in self._loaded.items()})

    def _remember(self, folder: str, loaded: _Loaded) -> None:
        self._loaded.pop(folder, None)  # to the end: the oldest is forgotten first
        self._loaded[folder] = loaded
        self._file.changed = True
        while len(self._loaded) > _MAX_FOLDERS:
            del self._loaded[next(iter(self._loaded))]


def _loaded_from(value: Any) -> _Loaded:
    key, changed = value
    return _Loaded(str(key), int(changed))


def _fingerprint(framework: str, files: list[_File]) -> Fingerprint:
    digest = hashlib.blake2b(framework.encode(), digest_size=12)
    for file in files:
        digest.update(b"%s\0%d\0" % (file.name, file.size))
    # Wheels (container/layers) are installed on the disk, and no model reads them into memory.
    size = sum(file.size for file in files if not file.name.startswith(_WHEELS))
    return Fingerprint(framework, digest.hexdigest(), size)


def _files(directory: Path) -> Iterator[_File]:
    """Yield the files below a folder, up to MAX_FILES: of more, those of the folders that come first by name.

    A link to a file is that file, and a link to a folder is not followed, as there may be circles.
    """
    left = MAX_FILES
    folders = [b""]
    while folders:
        folder = folders.pop()
        entries = _entries(b"%s/%s" % (os.fsencode(directory), folder), left)
        left -= len(entries)
        if left < 0:
            return  # not a part of this folder: which part would be chance
        for entry in sorted(entries, key=lambda entry: entry.name, reverse=True):
            name = b"%s/%s" % (folder, entry.name)
            if entry.is_dir(follow_symlinks=False):
                if entry.name != _BYTECODE_FOLDER.encode():
                    folders.append(name)
            elif not entry.name.endswith(_BYTECODE.encode()):
                yield _file(name, entry)


def _entries(folder: bytes, limit: int) -> list[os.DirEntry[bytes]]:
    """Return what is in a folder, one more than the limit at most; nothing if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return list(islice(entries, limit + 1))
    except OSError:
        return []


def _file(name: bytes, entry: os.DirEntry[bytes]) -> _File:
    try:
        size = 0 if entry.is_dir() else entry.stat().st_size
        return _File(name, size, entry.stat(follow_symlinks=False).st_ctime_ns)
    except OSError:
        return _File(name, 0, 0)  # a link to nowhere
