"""Linux control groups that limit memory and processor time, version 1 or 2.

Kernel: admin-guide/cgroup-v1/memory.rst, scheduler/sched-bwc.rst, admin-guide/cgroup-v2.rst.
"""

import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

MOUNT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_UNLIMITED = 1 << 60  # version 1 reports a number near 2^63 for "no limit"
_LIMIT = {1: "memory.limit_in_bytes", 2: "memory.max"}
_USAGE = {1: "memory.usage_in_bytes", 2: "memory.current"}
_PAGE_CACHE = {1: "total_inactive_file", 2: "inactive_file"}
_EVENTS = {1: "memory.oom_control", 2: "memory.events"}


class ControlGroup:
    """One control group's memory controller. What cannot be read counts as absent: no limit, 0 bytes, 0 kills."""

    def __init__(self, folder: Path, version: int) -> None:
        self.folder = folder
        self._version = version

    @classmethod
    def current(cls, mount: Path = MOUNT, membership: Path = _MEMBERSHIP) -> Self | None:
        """Return the group that limits this process.

        Inside a container the root of the mount is the container's own group. Outside, `membership` names the path
        below it.
        """
        for root, version, path in _memberships(mount, membership, "memory"):
            for folder in (root / path, root):
                if (folder / _LIMIT[version]).is_file():
                    return cls(folder, version)
        return None

    @classmethod
    def of(cls, pid: int, mount: Path = MOUNT) -> Self | None:
        """Return the group that limits another process, if it is visible below this mount (proc_pid_cgroup(5))."""
        for root, version, path in _memberships(mount, Path(f"/proc/{pid}/cgroup"), "memory"):
            if (root / path / "memory.stat").is_file():
                return cls(root / path, version)
        return None

    def limit(self) -> int | None:
        """Return the limit in bytes, or None if there is none."""
        text = self._read(_LIMIT[self._version])
        return None if text in ("", "max") or int(text) >= _UNLIMITED else int(text)

    def used(self) -> int:
        """Return the bytes in use, without the page cache that the kernel can drop at once."""
        return max(0, int(self._read(_USAGE[self._version]) or 0) - self.page_cache())

    def page_cache(self) -> int:
        """Return the bytes of page cache that the kernel can drop at once."""
        return self._table("memory.stat").get(_PAGE_CACHE[self._version], 0)

    def oom_kills(self) -> int:
        """Return how many processes of the group the kernel has killed for lack of memory."""
        return self._table(_EVENTS[self._version]).get("oom_kill", 0)

    def set_limit(self, size: int) -> None:
        """Set the limit in bytes. Raises OSError."""
        (self.folder / _LIMIT[self._version]).write_text(str(size))

    def _read(self, name: str) -> str:
        try:
            return (self.folder / name).read_text().strip()
        except OSError:
            return ""

    def _table(self, name: str) -> Mapping[str, int]:
        return {key: int(value) for key, value in re.findall(r"^(\S+) (\d+)$", self._read(name), re.MULTILINE)}


def memory_root(mount: Path = MOUNT) -> tuple[Path, int]:
    """Return the folder below which groups with a memory limit can be made, and the version of its files."""
    return (mount, 2) if (mount / "cgroup.controllers").exists() else (mount / "memory", 1)


def usable_processors(mount: Path = MOUNT, membership: Path = _MEMBERSHIP) -> int:
    """Return how many processors this process can keep busy.

    These are the ones that it may run on, or fewer where the processor time of its groups is limited: two and a half
    processors' time counts as three. Each group above limits it as well.
    """
    quotas = [
        quota
        for root, version, path in _memberships(mount, membership, "cpu")
        for folder in (root / path, *(root / parent for parent in Path(path).parents))
        if (quota := _processor_quota(folder, version)) is not None
    ]
    return max(1, min([len(os.sched_getaffinity(0)), *map(math.ceil, quotas)]))


def _processor_quota(folder: Path, version: int) -> float | None:
    """Return a group's limit in processors, or None without one: it has no file, "max", or a negative number."""
    files = ("cpu.max",) if version == 2 else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    try:
        quota, period = " ".join((folder / name).read_text() for name in files).split()
    except OSError:
        return None
    return int(quota) / int(period) if quota.isdecimal() else None


def _memberships(mount: Path, membership: Path, controller: str) -> Iterator[tuple[Path, int, str]]:
    """Yield root folder, version and path below the root of each group of a process that may have this controller."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield mount, 2, path.lstrip("/")
        elif controller in controllers.split(","):
            yield mount / controller, 1, path.lstrip("/")
