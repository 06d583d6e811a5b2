"""Where a model may lie, and whether its files can be read."""

import os
from collections.abc import Iterable
from pathlib import Path


def is_within(directory: Path, roots: Iterable[Path]) -> bool:
    """Return whether a directory is a root of models or lies below one, with links resolved in both.

    SageMaker unpacks archives below BASE/models, the one root without a model store. A load of anything else is
    rejected: a client that reaches the container could otherwise have any code on the disk run.
    """
    return any(directory.resolve().is_relative_to(root.resolve()) for root in roots)


def why_unreadable(path: Path) -> str | None:
    """Return why this process's user may not read a file or folder, with the remedy; None if it may, or none exists.

    An archive keeps the modes of its files, and a container may run as a plain user.
    """
    for folder in reversed(path.parents):
        if not os.access(folder, os.X_OK):
            return _blocked_by(folder) if folder.exists() else None
    mode = os.R_OK | (os.X_OK if path.is_dir() else 0)
    return _blocked_by(path) if path.exists() and not os.access(path, mode) else None


def _blocked_by(path: Path) -> str:
    return f"{path} cannot be read by user {os.geteuid()}; make it readable, for example by chmod -R a+rX {path}"
