"""A home folder for each model, in which what lies in the container's home can still be found.

Programs make caches and settings there. In the container's own home they could be planted for other models, or for the
container itself: Python imports from ~/.local.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_NAME = ".home"  # in the model's temp folder
_MOST_LINKS = 200
# Made as folders, whose entries are linked: programs add folders of their own to them (Matplotlib, fontconfig).
_SPREAD = (".config", ".local")


def make_home(temp_dir: Path, original: Path | None) -> Path:
    """Make the model's home, unless another of its workers has; return it. Raises OSError.

    `original`: the container's home, whose entries are linked; None: none are.
    """
    home = temp_dir / _NAME
    try:
        home.mkdir(mode=0o700)
    except FileExistsError:
        return home
    if original is not None and original.is_dir() and original != Path("/"):
        for number, entry in enumerate(_entries(original)):
            if number < _MOST_LINKS:
                _bring(entry, home)
    return home


def _bring(entry: Path, home: Path) -> None:
    with contextlib.suppress(OSError):  # a file that cannot be linked is one that the model does not find
        if entry.name in _SPREAD and entry.is_dir():
            (home / entry.name).mkdir(mode=0o700)
            for inner in _entries(entry):
                (home / entry.name / inner.name).symlink_to(inner)
        else:
            (home / entry.name).symlink_to(entry)


def _entries(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            yield Path(entry.path)
