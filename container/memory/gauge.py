"""How much memory the container may still use, and how much of it a process holds."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from polyhost.cgroup import ControlGroup

_ROLLUP_BYTES = 8192  # more than there are


@dataclass(frozen=True)
class MemoryState:
    """Bytes: `limit` is what the container has in all, `available` what a new model could take of it."""

    limit: int
    available: int


class MemoryGauge:
    """Reads the memory state of the container: its control group's limit, or the machine's memory if that is less."""

    def __init__(self, group: ControlGroup | None, meminfo: Path = Path("/proc/meminfo")) -> None:
        self._group = group
        self._meminfo = meminfo

    def read(self) -> MemoryState:
        table = _kilobytes(self._meminfo)
        limits, available = [table["MemTotal"] * 1024], [table["MemAvailable"] * 1024]
        group_limit = self._group.limit() if self._group else None
        if self._group and group_limit is not None:
            limits.append(group_limit)
            available.append(group_limit - self._group.used())
        return MemoryState(min(limits), max(0, min(available)))

    def oom_kills(self) -> int:
        """Return how many processes of this container the kernel has killed for lack of memory."""
        return self._group.oom_kills() if self._group else 0


def private_bytes(pid: int, smaps: int | None = None) -> int:
    """Return what would be freed if the process ended: its private memory pages and its page tables (proc(5)).

    `smaps`: its smaps_rollup, open; None for a process whose memory this one may look at. Raises OSError if there is no
    such process.
    """
    proc = Path("/proc") / str(pid)
    text = (proc / "smaps_rollup").read_text() if smaps is None else os.pread(smaps, _ROLLUP_BYTES, 0).decode()
    rollup = _parse_kilobytes(text)
    page_tables = _kilobytes(proc / "status").get("VmPTE", 0)
    return (rollup.get("Private_Clean", 0) + rollup.get("Private_Dirty", 0) + page_tables) * 1024


def _kilobytes(path: Path) -> Mapping[str, int]:
    return _parse_kilobytes(path.read_text())


def _parse_kilobytes(text: str) -> Mapping[str, int]:
    return {key: int(value) for key, value in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}
