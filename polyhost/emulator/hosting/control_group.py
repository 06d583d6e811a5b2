"""A memory limit for a process and all that it starts: a control group of its own (kernel: cgroup-v1, cgroup-v2)."""

import re
import time
from contextlib import suppress
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")


class ControlGroup:
    """Made below the root, where the emulator may do so: as root, on a machine or in a privileged container."""

    def __init__(self, folder: Path, version: int) -> None:
        self._folder = folder
        self._version = version

    @classmethod
    def make(cls, name: str, limit_bytes: int, mount: Path = _MOUNT) -> "ControlGroup | None":
        """None where no control group with a memory limit can be made."""
        root, version = _root(mount)
        folder = root / f"polyhost-{name}"
        try:
            folder.mkdir()
            (folder / ("memory.max" if version == 2 else "memory.limit_in_bytes")).write_text(str(limit_bytes))
        except OSError:
            with suppress(OSError):
                folder.rmdir()
            return None
        return cls(folder, version)

    @classmethod
    def named(cls, pattern: str, mount: Path = _MOUNT) -> "list[ControlGroup]":
        """Those made here earlier."""
        root, version = _root(mount)
        return [cls(folder, version) for folder in root.glob(f"polyhost-{pattern}")]

    @classmethod
    def of(cls, pid: int, mount: Path = _MOUNT) -> "ControlGroup | None":
        """The one that limits this process's memory, where it can be seen (proc_pid_cgroup(5))."""
        try:
            lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        except OSError:
            return None
        for line in lines:
            _, controllers, path = line.split(":", 2)
            if controllers == "" or "memory" in controllers.split(","):
                folder = (mount / "memory" if controllers else mount) / path.lstrip("/")
                if (folder / "memory.stat").exists():
                    return cls(folder, 1 if controllers else 2)
        return None

    @property
    def members(self) -> Path:
        """The file that takes the ids of processes that join."""
        return self._folder / "cgroup.procs"

    def used(self) -> int:
        """Without the page cache that the kernel can drop at once."""
        try:
            usage = int(self._read("memory.current" if self._version == 2 else "memory.usage_in_bytes"))
        except (OSError, ValueError):
            return 0
        return max(0, usage - self.cache())

    def cache(self) -> int:
        """The page cache that the kernel can drop at once."""
        key = "inactive_file" if self._version == 2 else "total_inactive_file"
        try:
            found = re.search(rf"^{key} (\d+)$", self._read("memory.stat"), re.MULTILINE)
        except OSError:
            return 0
        return int(found[1]) if found else 0

    def remove(self, timeout_s: float = 5.0) -> None:
        """When its processes are gone; the kernel takes a moment to notice that they are."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return self._folder.rmdir()
            except FileNotFoundError:
                return None
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def _read(self, name: str) -> str:
        return (self._folder / name).read_text()


def _root(mount: Path) -> tuple[Path, int]:
    """Where control groups that limit memory are made, and their version."""
    return (mount, 2) if (mount / "cgroup.controllers").exists() else (mount / "memory", 1)
