"""What Linux tells about processes, for those who must leave none behind."""

import os
from pathlib import Path


def children() -> list[int]:
    """This process's children, adopted ones included (proc(5): task/TID/children)."""
    pid = os.getpid()
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
