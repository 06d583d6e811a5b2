"""How much memory the container may still use: its control group's limit, else the machine's memory."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")
_NO_LIMIT = 1 << 60  # version 1 writes a number near 2^63 for "no limit"


@dataclass(frozen=True)
class MemoryState:
    """In bytes. `limit` is what the container has in all, `available` what a new model could take of it."""

    limit: int
    available: int


class ControlGroup:
    """The memory controller's files for this container, version 2 or 1 (kernel: admin-guide/cgroup-v2.rst, v1)."""

    def __init__(self, folder: Path, version: int) -> None:
        self._folder = folder
        self._version = version

    @classmethod
    def find(cls, mount: Path = _MOUNT, membership: Path = Path("/proc/self/cgroup")) -> "ControlGroup | None":
        """Inside a container the mount's root is its own group; outside, /proc/self/cgroup tells the path below it."""
        try:
            lines = [line.split(":", 2) for line in membership.read_text().splitlines()]
        except OSError:
            return None
        for _, controllers, path in lines:
            if controllers == "":
                folders, version, probe = [mount], 2, "memory.max"
            elif "memory" in controllers.split(","):
                folders, version, probe = [mount / "memory"], 1, "memory.limit_in_bytes"
            else:
                continue
            for folder in (folders[0] / path.lstrip("/"), folders[0]):
                if (folder / probe).is_file():
                    return cls(folder, version)
        return None

    def limit(self) -> int | None:
        text = self._read("memory.max" if self._version == 2 else "memory.limit_in_bytes")
        return None if text in ("", "max") or int(text) >= _NO_LIMIT else int(text)

    def used(self) -> int:
        """Without the page cache that the kernel can drop at once."""
        usage = int(self._read("memory.current" if self._version == 2 else "memory.usage_in_bytes") or 0)
        key = "inactive_file" if self._version == 2 else "total_inactive_file"
        return max(0, usage - self._table("memory.stat").get(key, 0))

    def oom_kills(self) -> int:
        return self._table("memory.events" if self._version == 2 else "memory.oom_control").get("oom_kill", 0)

    def _read(self, name: str) -> str:
        try:
            return (self._folder / name).read_text().strip()
        except OSError:
            return ""

    def _table(self, name: str) -> Mapping[str, int]:
        return {key: int(value) for key, value in re.findall(r"^(\S+) (\d+)$", self._read(name), re.MULTILINE)}


class MemoryGauge:
    """Reads the state of the container's memory."""

    def __init__(self, group: ControlGroup | None, meminfo: Path = Path("/proc/meminfo")) -> None:
        self._group = group
        self._meminfo = meminfo

    def read(self) -> MemoryState:
        total, available = self._machine()
        limits, rooms = [total], [available]
        group_limit = self._group.limit() if self._group else None
        if self._group and group_limit is not None:
            limits.append(group_limit)
            rooms.append(group_limit - self._group.used())
        return MemoryState(min(limits), max(0, min(rooms)))

    def oom_kills(self) -> int:
        """How many processes the kernel has killed in this container for lack of memory."""
        return self._group.oom_kills() if self._group else 0

    def _machine(self) -> tuple[int, int]:
        table = {
            key: int(value) * 1024
            for key, value in re.findall(r"^(\w+): +(\d+) kB$", self._meminfo.read_text(), re.MULTILINE)
        }
        return table["MemTotal"], table["MemAvailable"]


class OomKills:
    """Whose deaths were the out-of-memory killer's: the kernel counts its kills and does not say whom it chose."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count
        self._claimed = self._at_last_round = count()

    def claim(self) -> bool:
        """For a process that died of SIGKILL: whether there was a kill that is nobody's yet; it is this one's now."""
        is_new = self._count() > self._claimed
        self._claimed += is_new
        return is_new

    def forget_old(self) -> None:
        """Now and then: what nobody has claimed since the last time was no worker, e.g. what a model had started."""
        self._claimed = max(self._claimed, self._at_last_round)
        self._at_last_round = self._count()
