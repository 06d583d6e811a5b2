"""Temp folders of closed models: moved aside at once, and removed by a process of their own.

A model may have left hundreds of thousands of files, or folders nested by the thousand, in its temp folder. Removing
them takes seconds, in which the fork server would do nothing for the other models.
"""

import contextlib
import os
import subprocess
import time
from collections import deque
from pathlib import Path

from polyhost.events import get_logger

_MOST_AT_ONCE = 100  # folders of one command
_LOWEST_PRIORITY = 19

logger = get_logger(__name__)


class Trash:
    """Removes folders, one process at a time. What its predecessor has left is removed too."""

    def __init__(self, folder: Path) -> None:
        """`folder`: where the folders are moved to; on the file system where they are."""
        self._folder = folder
        folder.mkdir(mode=0o700, exist_ok=True)
        self._waiting = deque(folder.iterdir())
        self._remover: subprocess.Popen[bytes] | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits, and the last check has found no process at work."""
        return self._remover is None and not self._waiting

    def add(self, folder: Path) -> None:
        """Remove a folder: here if it is empty, as most are."""
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            aside = self._folder / f"{folder.name}-{time.monotonic_ns()}"
            try:
                folder.rename(aside)
            except OSError as error:
                logger.error("cannot remove a model's temp folder: %s", error)
                return
            self._waiting.append(aside)
            self.check()

    def check(self) -> None:
        """Begin to remove what waits, unless a process is at it; to be called now and then."""
        if self._remover is not None and self._remover.poll() is not None:
            self._remover = None
        if self._remover is None and self._waiting:
            folders = [str(folder) for folder, _ in zip(self._waiting, range(_MOST_AT_ONCE), strict=False)]
            with contextlib.suppress(OSError):  # no process can be had now
                # Not shutil.rmtree: it calls itself once for each level.
                self._remover = subprocess.Popen(
                    ["rm", "-rf", "--", *folders], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                for _ in folders:  # what cannot be removed now is removed with the run folder
                    self._waiting.popleft()
                os.setpriority(os.PRIO_PROCESS, self._remover.pid, _LOWEST_PRIORITY)
