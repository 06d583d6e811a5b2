"""A temporary folder of one command: removed at its end, also by SIGTERM, and after SIGKILL by the next command."""

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PREFIX = "polyhost-check-"
_YOUNG_S = 60.0  # a folder may have been made, and not locked yet


@contextlib.contextmanager
def work_dir() -> Iterator[Path]:
    """Make the folder, and remove those of commands that were killed. SIGTERM ends the block by SystemExit."""
    _sweep()
    earlier = signal.signal(signal.SIGTERM, _exit)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve()
    # The kernel frees the lock when this process ends, and the children that it has forked.
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)
        signal.signal(signal.SIGTERM, earlier)


def _exit(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


def _sweep() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # its command is running, or it belongs to another user
            descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                status = os.fstat(descriptor)
                if status.st_uid == os.geteuid() and time.time() - status.st_mtime > _YOUNG_S:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
