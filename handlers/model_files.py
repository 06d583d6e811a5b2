"""The files at the root of a model's folder, as its archive brought them."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path

from polyhost.handlers.errors import BadModelError
from polyhost.handlers.settings import DEFAULT_PROGRAM


def visible(directory: Path) -> list[Path]:
    """Return what lies at the root, without hidden files, such as macOS leaves in archives."""
    return sorted(path for path in directory.iterdir() if not path.name.startswith((".", "__")))


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
