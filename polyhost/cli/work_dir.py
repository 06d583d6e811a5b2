"""A temporary folder of one command: removed at its end, also by a signal, and after SIGKILL by the next command."""

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_PREFIX = "polyhost-check-"
_YOUNG_S = 60.0  # a folder may have been made, and not locked yet
_ATTEMPTS, _ATTEMPT_S = 60, 0.05
STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP)  # Python makes SIGINT a KeyboardInterrupt


@contextlib.contextmanager
def work_dir() -> Iterator[Path]:
    """Make the folder, and remove those of commands that were killed. STOP_SIGNALS end the block by SystemExit."""
    _sweep()
    with _handler(_exit, *STOP_SIGNALS):
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve()
        # The kernel frees the lock when this process ends, and the children that it has forked.
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield folder
        finally:
            with _handler(signal.SIG_IGN, signal.SIGINT, *STOP_SIGNALS):  # a second one must not break it off
                _remove(folder)
            os.close(descriptor)


@contextlib.contextmanager
def _handler(handler: Callable[[int, Any], None] | signal.Handlers, *numbers: int) -> Iterator[None]:
    """Handle these signals so while the block runs."""
    earlier = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in earlier.items():
            signal.signal(number, previous)


def _exit(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


def _remove(folder: Path) -> None:
    """Remove the folder. Tries again for a while: processes that have been killed may still create files in it."""
    for _ in range(_ATTEMPTS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break
        time.sleep(_ATTEMPT_S)


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
