"""The machine that a run was made on: a figure without it means nothing."""

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """What every report names. `date` is in UTC."""

    kernel: str
    cores: int
    memory_gib: float
    processor: str
    python: str
    date: str

    @classmethod
    def current(cls) -> "Machine":
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return cls(
            kernel=platform.release(),
            cores=os.cpu_count() or 1,
            memory_gib=round(memory / 2**30, 1),
            processor=_processor(),
            python=platform.python_version(),
            date=datetime.now(UTC).date().isoformat(),
        )

    def __str__(self) -> str:
        return (
            f"Linux {self.kernel}, {self.cores} cores ({self.processor}), {self.memory_gib:g} GiB,"
            f" Python {self.python}, {self.date}"
        )


def _processor() -> str:
    """Return the processor's name (proc(5), cpuinfo; x86 only), else the architecture."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
