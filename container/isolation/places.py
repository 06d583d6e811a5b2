"""Which files a model's process may reach.

A rule of Landlock allows a whole tree, and nothing can be taken out of one. So where something in a tree is to be out
of reach, the entries beside it are allowed one by one: everything that is on the disk stays readable, but for other
models, the run folder and the state folder.
"""

import contextlib
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from polyhost.container.isolation.landlock import Access

# Anybody may write there, so what lies in them cannot be told apart: such a folder is allowed as a whole or not at all.
_TEMP_FOLDERS = (Path("/tmp"), Path("/dev/shm"))  # noqa: S108
_OWN_RULES = (Path("/dev"),)
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts")
# NVIDIA, AMD and Intel, AWS Neuron, Habana, InfiniBand for NCCL; WSL's.
_ACCELERATORS = ("nvidia*", "dri", "kfd", "neuron*", "accel*", "infiniband", "dxg")
_CUDA = ("nvidia*", "dxg")
_MAX_ENTRIES = 500  # of one folder in which something is protected


@dataclass(frozen=True)
class AllowedPath:
    """A file or a folder, and what may be done to it, or below it."""

    path: Path
    access: Access


def readable(protected: Collection[Path], hidden: Collection[Path] = ()) -> Iterator[AllowedPath]:
    """Yield what may be read and executed: everything that is neither protected nor a temp folder.

    `hidden`: folders besides, of which only what Python needs is allowed.
    """
    outside = {*map(_resolved, (*protected, *hidden, *_TEMP_FOLDERS, *_OWN_RULES))}
    yield from (AllowedPath(path, Access.READ) for path in _all_but(Path("/"), outside))
    # Where Python or the models' libraries lie in a folder of which not everything is allowed, as below /tmp.
    for path in {*map(_resolved, filter(None, (*sys.path, sys.prefix, sys.base_prefix)))}:
        if not _holds_any(path, {*map(_resolved, protected)}) and path != Path("/"):
            yield AllowedPath(path, Access.READ)


def devices() -> Iterator[AllowedPath]:
    """Yield the devices that programs expect, and accelerators."""
    for pattern in (*_DEVICES, *_ACCELERATORS):
        for path in Path("/dev").glob(pattern):
            yield AllowedPath(path, Access.READ_FILE | Access.READ_DIR | Access.WRITE_FILE)


def has_cuda() -> bool:
    """Return whether there is an NVIDIA GPU, also WSL's."""
    return any(path for pattern in _CUDA for path in Path("/dev").glob(pattern))


def writable(shared: Iterable[str | Path], protected: Collection[Path]) -> Iterator[AllowedPath]:
    """Yield the shared folders that may be written to. One that holds something protected is left out."""
    for folder in shared:
        if not holds_any(Path(folder), protected):
            yield AllowedPath(Path(folder), Access.WRITE)


def holds_any(folder: Path, protected: Collection[Path]) -> bool:
    """Return whether something protected is this folder or lies below it, or the folder below it."""
    return _holds_any(_resolved(folder), {*map(_resolved, protected)})


def _holds_any(folder: Path, protected: Collection[Path]) -> bool:
    return any(item.is_relative_to(folder) or folder.is_relative_to(item) for item in protected)


def _all_but(folder: Path, protected: Collection[Path]) -> Iterator[Path]:
    """Yield as few files and folders as hold everything below the folder but what is protected."""
    if folder in protected:
        return
    if not any(item.is_relative_to(folder) for item in protected):
        yield folder
        return
    for path in _entries(folder):
        if not path.is_symlink():  # what it leads to has a path of its own
            yield from _all_but(path, protected)


def _entries(folder: Path) -> Sequence[Path]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return [Path(entry.path) for entry, _ in zip(entries, range(_MAX_ENTRIES), strict=False)]
    return ()


def _resolved(path: str | Path) -> Path:
    return Path(path).resolve()
