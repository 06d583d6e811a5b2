"""Makes a model's own modules importable, in front of everything else, ours included."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

# Everyday names that a model may well use for a module of its own.
OUR_PACKAGES = ("handlers", "container", "cli")


def put_first(*folders: Path) -> None:
    """The folders lead the search path, in this order.

    Where one holds a module named like a package of ours, ours is forgotten: what is loaded of it goes on working,
    since functions keep their module's names, but a later import of that name finds the model's.
    """
    entries = list(dict.fromkeys(map(str, folders)))
    sys.path[:] = entries + [entry for entry in sys.path if entry not in entries]
    _forget(name for name in OUR_PACKAGES if any(_ships(folder, name) for folder in folders))


def _ships(folder: Path, name: str) -> bool:
    return (folder / f"{name}.py").is_file() or (folder / name).is_dir()


def _forget(packages: Iterable[str]) -> None:
    for package in packages:
        for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
            del sys.modules[name]
