"""Control groups of instances: one for each container, or one for all containers of an instance."""

import contextlib
import logging
import os
import signal
import threading
import time
from pathlib import Path

from polyhost.emulator.hosting.control_group import OwnControlGroup
from polyhost.emulator.hosting.interfaces import Launch

_REMOVE_S = 5.0

logger = logging.getLogger(__name__)


class MemoryGroup:
    """A container's control group. A shared one sees all of its containers' memory, as a machine does."""

    def __init__(self, groups: "MemoryGroups", name: str, group: OwnControlGroup, shared: bool) -> None:
        self.name = name
        self.shared = shared
        self.members: Path = group.members
        self.group = group
        self._groups = groups

    def used(self) -> int:
        return self.group.used()

    def processes(self) -> list[int]:
        """Return the ids of all processes in it."""
        try:
            return [int(pid) for pid in self.members.read_text().split()]
        except OSError:
            return []

    def leave(self) -> None:
        """Say that the container has ended: with the last one the group is removed. May block for seconds."""
        self._groups.leave(self)


class MemoryGroups:
    """The control groups that exist, by name, with the number of their containers, 0 while one is being removed."""

    def __init__(self) -> None:
        self._containers: dict[str, int] = {}
        self._lock = threading.Lock()  # containers end in threads
        self._warned = False

    def join(self, launch: Launch) -> MemoryGroup | None:
        """Return the group for a container, made if need be, or None where that is not possible."""
        name = launch.shared_with or launch.name
        with self._lock:
            known = name in self._containers
            group = OwnControlGroup.at(name) if known else OwnControlGroup.make(name, launch.memory_bytes)
            if group is not None:
                self._containers[name] = self._containers.get(name, 0) + 1
                return MemoryGroup(self, name, group, bool(launch.shared_with))
        if not self._warned:
            self._warned = True
            logger.warning(
                "cannot make control groups (that needs root): the memory of instances is measured, not limited"
            )
        return None

    def leave(self, group: MemoryGroup) -> None:
        """Note that one container has left; remove the group after the last one, with whatever is still in it."""
        with self._lock:
            self._containers[group.name] -= 1
            if self._containers[group.name]:
                return
            for pid in group.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        # The kernel takes a moment to notice that they have ended; meanwhile a container may join anew.
        deadline = time.monotonic() + _REMOVE_S
        while not self._removed(group, time.monotonic() > deadline):
            time.sleep(0.01)

    def _removed(self, group: MemoryGroup, last: bool) -> bool:
        with self._lock:
            if self._containers.get(group.name):
                return True
            try:
                group.group.folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError as error:
                if not last:
                    return False
                logger.warning("the control group %s could not be removed: %s", group.name, error)
            self._containers.pop(group.name, None)
            return True
