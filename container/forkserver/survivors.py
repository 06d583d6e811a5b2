"""Survivors behind MMS: workers that outlived their fork server.

They go on serving, and their status pages show whether one hangs. Only they and MMS hold their connections, so the new
fork server cannot reply on their behalf: it kills one that hangs, MMS responds with 500, and the next request gets a
new worker. (The native front end hands copies of its connections to the new fork server.)
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from polyhost.container.system.procfs import group_leaders_in, is_group_leader_in
from polyhost.container.worker.status_page import StatusPage


@dataclass(frozen=True)
class Survivor:
    """One worker. `status` is None if its page cannot be opened (another user's process): then it has no deadline."""

    pid: int
    directory: Path
    status: StatusPage | None

    @classmethod
    def find(cls, directory: Path) -> "list[Survivor]":
        """Return the workers that serve the model in this directory."""
        folder = directory.resolve()
        return [cls(pid, folder, _status_page_of(pid)) for pid in group_leaders_in(folder)]

    def kill(self) -> bool:
        """Kill the worker and what it has started; return False if it had ended.

        Its pid may belong to another process by then, but hardly to one that works in the model's directory.
        """
        alive = is_group_leader_in(self.pid, self.directory)
        if alive:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        return alive

    def close(self) -> None:
        """Unmap the status page."""
        if self.status is not None:
            self.status.close()


def _status_page_of(pid: int) -> StatusPage | None:
    """Map the worker's status page through its own descriptor, which can be opened again (proc(5), /proc/PID/fd)."""
    try:
        for path in _status_page_descriptors(pid):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                return StatusPage(descriptor)
            finally:
                os.close(descriptor)
    except (OSError, ValueError):
        pass
    return None


def _status_page_descriptors(pid: int) -> Iterator[Path]:
    for path in Path(f"/proc/{pid}/fd").iterdir():
        if StatusPage.is_named(str(path.readlink())):
            yield path
