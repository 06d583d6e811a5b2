"""How much of a function's memory is left: Lambda shows no control group, so its processes are counted."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from polyhost.cgroup import ControlGroup
from polyhost.container.memory.gauge import MemoryGauge, MemoryState
from polyhost.container.system.procfs import children_of

_PSS = re.compile(r"^Pss:\s+(\d+) kB$", re.MULTILINE)


class FunctionMemory(MemoryGauge):
    """The memory of this process and of all that it has started, of `limit` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(ControlGroup.current())
        self._limit = limit

    def read(self) -> MemoryState:
        state = super().read()
        used = sum(map(_share_of, _with_children(os.getpid())))
        return MemoryState(min(state.limit, self._limit), max(0, min(state.available, self._limit - used)))


def _with_children(pid: int) -> Iterator[int]:
    yield pid
    for child in children_of(pid):
        yield from _with_children(child)


def _share_of(pid: int) -> int:
    """Return the process's memory; what it shares counts in parts (proc(5), Pss)."""
    try:
        found = _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
    except OSError:  # it has just ended
        return 0
    return int(found[1]) * 1024 if found else 0
