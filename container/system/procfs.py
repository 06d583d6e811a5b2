"""What Linux says about processes: children, process group leaders, and a mark that descendants inherit."""

import contextlib
import os
import re
import resource
import select
from pathlib import Path

# RLIMIT_LOCKS has had no effect since Linux 2.4.25 (getrlimit(2)), and fork, exec and setsid all preserve it: a number
# in it still identifies a daemon that has left its session and cleared its environment.
_RLIMIT_LOCKS = 10

MAX_OOM_SCORE_ADJ = 1000


def children() -> list[int]:
    """Return this process's children, adopted ones included (proc(5): task/TID/children)."""
    pid = os.getpid()
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def children_of(pid: int) -> list[int]:
    """Return the children of a single-threaded process; none if it has ended."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def wait_for_end(pid: int, seconds: float) -> None:
    """Wait until the process, a child or not, has ended and freed its memory; for `seconds` at most."""
    with contextlib.suppress(OSError):  # it has ended; or there are no descriptors left
        pidfd = os.pidfd_open(pid)
        try:
            watch = select.poll()
            watch.register(pidfd, select.POLLIN)
            watch.poll(seconds * 1000)
        finally:
            os.close(pidfd)


def parent_of(pid: int) -> int | None:
    """Return the process's parent (proc_pid_stat(5), field 4), or None if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def with_descendants(pid: int) -> list[int]:
    """Return the process and all its descendants."""
    found = [pid]
    for item in found:  # it grows
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{item}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def group_leaders_in(folder: Path) -> set[int]:
    """Return the process group leaders that work in the folder: in a model directory, its workers."""
    pids = (int(proc.name) for proc in Path("/proc").iterdir() if proc.name.isdecimal())
    return {pid for pid in pids if is_group_leader_in(pid, folder)}


def is_group_leader_in(pid: int, folder: Path) -> bool:
    """Return whether the process works in the folder and leads a process group."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == folder and os.getpgid(pid) == pid
    except OSError:  # it has ended, or is another user's
        return False


def users_of_processes() -> set[int]:
    """Return the users that have a process, zombies included: /proc/PID is the effective user's (proc(5))."""
    found = set()
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdecimal():
            with contextlib.suppress(OSError):  # it has ended
                found.add(os.stat(f"/proc/{name}").st_uid)  # noqa: PTH116
    return found


def effective_capabilities() -> int:
    """Return this process's capabilities, a bit for each (proc(5): status, CapEff)."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff:")]
    return int(line.split()[1], 16)


def set_oom_score_adj(score: int) -> None:
    """Tell the kernel how readily to kill this process if memory runs out (proc(5)). Raises OSError.

    By the descriptor: for a text file, Python makes a buffer, and looks the encoding up, at 40 memory pages of a fork.
    """
    descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, str(score).encode())
    finally:
        os.close(descriptor)


def mark(number: int) -> None:
    """Mark this process and everything that it will start."""
    with contextlib.suppress(OSError, ValueError):  # a sandbox may not have the limit
        resource.setrlimit(_RLIMIT_LOCKS, (number, resource.getrlimit(_RLIMIT_LOCKS)[1]))


def mark_of(pid: int) -> int | None:
    """Return the process's mark, or None if it has none or has ended."""
    try:
        number = resource.prlimit(pid, _RLIMIT_LOCKS)[0]
    except PermissionError:  # another user's
        return _mark_by_file(pid)
    except OSError:
        return None
    return None if number == resource.RLIM_INFINITY else number


def _mark_by_file(pid: int) -> int | None:
    """Read the mark where anyone may read it, at ten times the cost."""
    with contextlib.suppress(OSError):
        found = re.search(r"^Max file locks +(\d+)", Path(f"/proc/{pid}/limits").read_text(), re.MULTILINE)
        return int(found[1]) if found else None
    return None
