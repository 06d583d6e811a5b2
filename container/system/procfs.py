"""What Linux tells about processes, for those who must leave none behind."""

import contextlib
import os
import resource
from pathlib import Path

# Without any effect since Linux 2.4.25 (getrlimit(2)), and handed on by fork, exec and setsid alike.
_RLIMIT_LOCKS = 10


def children() -> list[int]:
    """This process's children, adopted ones included (proc(5): task/TID/children)."""
    pid = os.getpid()
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def group_leaders_in(folder: Path) -> set[int]:
    """Workers that serve the model of this folder: they work in it, and lead a process group each."""
    pids = (int(proc.name) for proc in Path("/proc").iterdir() if proc.name.isdecimal())
    return {pid for pid in pids if leads_in(pid, folder)}


def leads_in(pid: int, folder: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == folder and os.getpgid(pid) == pid
    except OSError:  # it has ended, or is another user's
        return False


def mark(number: int) -> None:
    """This process, and all that it will have started."""
    with contextlib.suppress(OSError, ValueError):  # a sandbox may not know the limit
        resource.setrlimit(_RLIMIT_LOCKS, (number, resource.getrlimit(_RLIMIT_LOCKS)[1]))


def mark_of(pid: int) -> int | None:
    """None where the process has none, or has ended."""
    try:
        number = resource.prlimit(pid, _RLIMIT_LOCKS)[0]
    except OSError:
        return None
    return None if number == resource.RLIM_INFINITY else number


def with_descendants(pid: int) -> list[int]:
    found = [pid]
    for item in found:  # which grows
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{item}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found
