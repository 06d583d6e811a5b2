"""Questions to processes that may end at any time."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil

_T = TypeVar("_T")


def query(question: Callable[[], _T]) -> _T | None:
    """Return a process's response to a method of psutil's, or None if it has ended."""
    try:
        return question()
    except psutil.Error:
        return None


def is_alive(process: psutil.Process) -> bool:
    """Return whether the process runs; a zombie does not."""
    return query(process.status) not in (None, psutil.STATUS_ZOMBIE)


def is_running(pid: int) -> bool:
    """Return whether a process of this id runs; a zombie does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def peak_memory(pid: int) -> int:
    """Return the most bytes of memory that the process has had at once."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024
