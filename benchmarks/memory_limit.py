"""A limit for the memory of processes on this machine: a control group, version 1 or 2. Needs root."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from polyhost.cgroup import ControlGroup

_MOUNT = Path("/sys/fs/cgroup")
_REMOVE_S = 30.0
# The shell joins the group and becomes the command.
_JOIN = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


@dataclass(frozen=True)
class MemoryLimit:
    """A group that commands can be started in."""

    group: ControlGroup

    def around(self, command: Sequence[str]) -> list[str]:
        """Return a command that runs this one in the group."""
        return ["sh", "-c", _JOIN, str(self.group.folder), *command]


class NoMemoryLimitError(Exception):
    """A control group that cannot be made here; the message says why."""


@contextmanager
def memory_limit(limit_bytes: int) -> Iterator[MemoryLimit]:
    """Make a group with this limit, and remove it afterwards, when its processes have ended."""
    version, root, file = _hierarchy()
    folder = root / f"polyhost-{uuid4().hex[:12]}"
    try:
        folder.mkdir()
        (folder / file).write_text(str(limit_bytes))
    except OSError as error:
        if folder.exists():
            folder.rmdir()
        raise NoMemoryLimitError(f"cannot make a control group with a memory limit below {root}: {error}") from error
    try:
        yield MemoryLimit(ControlGroup(folder, version))
    finally:
        _remove(folder)


def _hierarchy() -> tuple[int, Path, str]:
    """Return the version, the folder below which groups are made, and the name of the limit's file."""
    if (_MOUNT / "memory" / "memory.limit_in_bytes").exists():
        return 1, _MOUNT / "memory", "memory.limit_in_bytes"
    return 2, _MOUNT, "memory.max"


def _remove(folder: Path) -> None:
    deadline = time.monotonic() + _REMOVE_S
    while True:
        try:
            folder.rmdir()
            return
        except OSError:  # a process in it has not been reaped yet
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
