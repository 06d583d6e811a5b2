"""The files at the root of a model's folder, as its archive brought them."""

import os
import stat
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path

from polyhost.handlers.errors import BadModelError
from polyhost.handlers.settings import DEFAULT_PROGRAM


def visible(directory: Path) -> list[Path]:
    """Return what lies at the root, without hidden files, such as macOS leaves in archives."""
    return sorted(path for path in directory.iterdir() if not path.name.startswith((".", "__")))


def visible_files(directory: Path, most: int | None = None) -> list[str]:
    """Return the names of the visible files at the root; none if there are more than `most` entries there."""
    with os.scandir(directory) as entries:
        found = list(islice(entries, None if most is None else most + 1))
    if most is not None and len(found) > most:
        return []
    return [entry.name for entry in found if not entry.name.startswith((".", "__")) and entry.is_file()]


def read_start(path: Path, most: int) -> bytes:
    """Return the first bytes of a regular file, and nothing of others, which may never end. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # opening a FIFO blocks until it is written
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        return file.read(most)


def matching(directory: Path, patterns: Sequence[str]) -> list[Path]:
    """Return the visible files at the root that fit a pattern."""
    return [path for path in visible(directory) if path.is_file() and any(fnmatch(path.name, p) for p in patterns)]


def only_match(directory: Path, patterns: Sequence[str]) -> Path:
    """Return the one file that fits. Raises BadModelError if none or several do.

    An archive with two models of one framework needs a script that says which is which.
    """
    found = matching(directory, patterns)
    if len(found) != 1:
        raise BadModelError(
            f"expected one file {' or '.join(patterns)} at the archive's root, found {listed(found)}; "
            f"keep one, or add an {DEFAULT_PROGRAM} with a model_fn"
        )
    return found[0]


def listed(paths: Iterable[Path]) -> str:
    """Return the names for an error's text; a folder's with a slash."""
    return ", ".join(path.name + "/" * path.is_dir() for path in paths) or "nothing"
