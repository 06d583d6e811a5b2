"""A memory limit for a process and all that it starts: a control group made for it below the root."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from polyhost.cgroup import MOUNT, ControlGroup, memory_root


class OwnControlGroup(ControlGroup):
    """A control group that the emulator has made. That needs root, on a machine or in a privileged container."""

    @classmethod
    def at(cls, name: str, mount: Path = MOUNT) -> Self:
        """Return the group that `make` has made under this name."""
        root, version = memory_root(mount)
        return cls(root / f"polyhost-{name}", version)

    @classmethod
    def make(cls, name: str, limit_bytes: int, mount: Path = MOUNT) -> Self | None:
        """Make a control group with a memory limit, or return None where that is not possible."""
        group = cls.at(name, mount)
        try:
            group.folder.mkdir()
            group.set_limit(limit_bytes)
        except OSError:
            with suppress(OSError):
                group.folder.rmdir()
            return None
        return group

    @classmethod
    def named(cls, pattern: str, mount: Path = MOUNT) -> list[Self]:
        """Return the groups made here earlier whose names match the pattern."""
        root, version = memory_root(mount)
        return [cls(folder, version) for folder in root.glob(f"polyhost-{pattern}")]

    @property
    def members(self) -> Path:
        """The file to which a process writes its id to join."""
        return self.folder / "cgroup.procs"

    def remove(self, timeout_s: float = 5.0) -> None:
        """Remove the group; retry, because the kernel takes a moment to notice that its processes have ended."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return self.folder.rmdir()
            except FileNotFoundError:
                return None
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
