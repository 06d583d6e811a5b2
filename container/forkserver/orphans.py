"""Workers that outlived their fork server behind MMS: they serve on, and whether one hangs stands in its status page.

Their connections belong to them and MMS alone, so that nobody can answer in their place: one that hangs is ended, which
MMS answers with 500, and the next request gets a new worker.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from polyhost.container.system.procfs import group_leaders_in, leads_in
from polyhost.container.worker.status_page import StatusPage


@dataclass(frozen=True)
class Orphan:
    """`status`: None where the page could not be had (another user's process); then it has no deadline."""

    pid: int
    directory: Path
    status: StatusPage | None

    @classmethod
    def all_of(cls, directory: Path) -> "list[Orphan]":
        """Those that serve the model in this folder."""
        folder = directory.resolve()
        return [cls(pid, folder, _page(pid)) for pid in group_leaders_in(folder)]

    def kill(self) -> bool:
        """False where it had ended: its number may be another process's, but hardly of one that works in the folder."""
        lives = leads_in(self.pid, self.directory)
        if lives:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        return lives

    def close(self) -> None:
        if self.status is not None:
            self.status.close()


def _page(pid: int) -> StatusPage | None:
    """The page is mapped by a descriptor of the worker's, which can be opened once more (proc(5), /proc/PID/fd)."""
    try:
        for descriptor in _descriptors(pid):
            opened = os.open(descriptor, os.O_RDWR | os.O_CLOEXEC)
            try:
                return StatusPage(opened)
            finally:
                os.close(opened)
    except (OSError, ValueError):
        pass
    return None


def _descriptors(pid: int) -> Iterator[Path]:
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        if StatusPage.is_named(str(descriptor.readlink())):
            yield descriptor
