"""What Linux tells about processes, for those who must leave none behind."""

import os
from pathlib import Path


def children() -> list[int]:
    """This process's children, adopted ones included (proc(5): task/TID/children)."""
    pid = os.getpid()
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def group_leaders_in(folder: Path) -> set[int]:
    """Workers that serve the model of this folder: they work in it, and lead a process group each."""
    return {int(proc.name) for proc in Path("/proc").iterdir() if proc.name.isdecimal() and _leads_in(proc, folder)}


def _leads_in(proc: Path, folder: Path) -> bool:
    try:
        return (proc / "cwd").readlink() == folder and os.getpgid(int(proc.name)) == int(proc.name)
    except OSError:  # it has ended, or is another user's
        return False
