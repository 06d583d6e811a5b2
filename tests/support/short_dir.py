"""Directories with short paths.

The path of a Unix socket has 107 bytes at most (unix(7)), so a container's run folder may have 69; pytest's own
directories are longer, above all with pytest-xdist.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def short_directory() -> Iterator[Path]:
    """Make a directory below /tmp, and remove it when the block ends."""
    with tempfile.TemporaryDirectory(prefix="pt-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
