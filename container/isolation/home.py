"""A home folder for each model, in which what lies in the container's home can still be found.

Programs make caches and settings there. In the container's own home they could be planted for other models, or for the
container itself: Python imports from ~/.local.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

HOMES = "homes"  # folder in the run folder
_NAME = ".home"  # in the model's temp folder
_MOST_LINKS = 200
# Made as folders, whose entries are linked: programs add folders of their own to them (Matplotlib, fontconfig).
_SPREAD = (".config", ".local")


class Home:
    """The home of one worker. A spare makes it ahead of its load, for the links take a millisecond."""

    def __init__(self, run_dir: Path, original: Path | None) -> None:
        """`original`: the container's home, whose entries are linked; None: none are."""
        self._folder = run_dir / HOMES
        self._original = original if original != Path("/") else None
        self._made: Path | None = None

    def prepare(self) -> None:
        """Make the folder, where models do not reach it. Raises OSError."""
        home = self._folder / str(os.getpid())
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._original is not None:
            for entry, _ in zip(_entries(self._original), range(_MOST_LINKS), strict=False):
                _bring(entry, home)
        self._made = home

    def move_into(self, temp_dir: Path) -> Path:
        """Move it into the model's temp folder, where another of the model's workers may have one; return its path."""
        home = temp_dir / _NAME
        assert self._made is not None, "prepare comes first"
        try:
            self._made.rename(home)
        except OSError:
            shutil.rmtree(self._made, ignore_errors=True)
            home.mkdir(mode=0o700, exist_ok=True)
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
