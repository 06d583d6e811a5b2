"""What the machine has left: every process, page table and thread that a model costs shows in it."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

_STILL_MB = 2.0
_PAUSE_S = 0.25
_PATIENCE_S = 10.0


def available_mb() -> float:
    """What was freed a moment ago comes back by and by."""
    return still(_read_mb)


def still(read: Callable[[], float]) -> float:
    """Waits until the figure, in MB, stands still."""
    deadline = time.monotonic() + _PATIENCE_S
    readings = [read()]
    while time.monotonic() < deadline:
        time.sleep(_PAUSE_S)
        readings.append(read())
        if len(readings) >= 4 and max(readings[-4:]) - min(readings[-4:]) < _STILL_MB:
            break
    return median(readings[-4:])


def _read_mb() -> float:
    found = re.search(r"^MemAvailable: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024 / 1e6
