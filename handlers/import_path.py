"""Makes a model's own modules importable, in front of everything else."""

from __future__ import annotations

import sys
from pathlib import Path


def put_first(*folders: Path) -> None:
    """The folders lead the search path, in this order."""
    entries = list(dict.fromkeys(map(str, folders)))
    sys.path[:] = entries + [entry for entry in sys.path if entry not in entries]
