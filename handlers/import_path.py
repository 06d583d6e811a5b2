"""The module search path of a process that serves one model."""

import site
import sys
from pathlib import Path

_layers: list[Path] = []  # of this process


def put_first(*folders: Path) -> None:
    """Put the folders at the head of the search path, in this order: a model's own modules come before all others."""
    entries = list(dict.fromkeys(map(str, folders)))
    sys.path[:] = entries + [entry for entry in sys.path if entry not in entries]


def put_last(folder: Path) -> None:
    """Put the folder at the end of the search path, unless it is there: its modules come after all others."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def add_lib(directory: Path) -> None:
    """Put the archive's code/lib before all packages, as SageMaker's TensorFlow image does with its lib."""
    lib = directory / "code" / "lib"
    if lib.is_dir():
        put_first(lib)


def add_layer(folder: Path) -> None:
    """Put a layer behind all other packages, and do what its .pth files say.

    Behind them, for it holds what they lack; what it brings besides must not stand in for what has been imported.
    """
    _layers.append(folder)
    site.addsitedir(str(folder))


def has_layer() -> bool:
    """Return whether the packages that the model's archive asks for are installed."""
    return bool(_layers)
