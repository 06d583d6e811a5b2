"""How much memory the machine has left: that includes every process, page table and thread that a model costs."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

_SETTLED_MB = 2.0
_PAUSE_S = 0.25
_TIMEOUT_S = 10.0


def available_mb() -> float:
    """Return MemAvailable once it has settled: memory that was just freed comes back gradually."""
    return settled_mb(available_now_mb)


def settled_mb(read: Callable[[], float]) -> float:
    """Read a figure in MB until it no longer changes, for a limited time."""
    deadline = time.monotonic() + _TIMEOUT_S
    readings = [read()]
    while time.monotonic() < deadline:
        time.sleep(_PAUSE_S)
        readings.append(read())
        if len(readings) >= 4 and max(readings[-4:]) - min(readings[-4:]) < _SETTLED_MB:
            break
    return median(readings[-4:])


def available_now_mb() -> float:
    """Return MemAvailable as it is at this moment."""
    found = re.search(r"^MemAvailable: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024 / 1e6
