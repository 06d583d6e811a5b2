"""The module search path of a process that serves one model."""

import sys
from pathlib import Path


def put_first(*folders: Path) -> None:
    """Put the folders at the head of the search path, in this order: a model's own modules come before all others."""
    entries = list(dict.fromkeys(map(str, folders)))
    sys.path[:] = entries + [entry for entry in sys.path if entry not in entries]


def put_last(folder: Path) -> None:
    """Put the folder at the end of the search path, unless it is there: its modules come after all others."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
