"""The directory of a running emulator: it holds instances' disks, and a lock that shows that the emulator runs."""

import fcntl
import logging
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from polyhost.emulator.functions.sandbox import remove_groups
from polyhost.emulator.hosting.interfaces import Driver
from polyhost.private_folder import private_parent

_PREFIX = "polyhost-emulator-"
# Holds the driver's name. The kernel frees the lock on it when the emulator ends, however it does.
_LOCK = "lock"

logger = logging.getLogger(__name__)


@asynccontextmanager
async def run_dir(driver: Driver, driver_name: str) -> AsyncIterator[Path]:
    """Make a directory for this emulator, and remove it afterwards.

    First, directories and containers that killed emulators with the same driver left behind are removed.
    """
    await _sweep(driver, driver_name)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=private_parent()))
    try:
        with (folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.write(driver_name)
            lock.flush()
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _sweep(driver: Driver, driver_name: str) -> None:
    for path in private_parent().glob(f"{_PREFIX}*/{_LOCK}"):
        try:
            with path.open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if lock.read() != driver_name:  # another driver's, or not yet written
                    continue
                logger.warning("removing %s and its containers: the emulator that made it was killed", path.parent)
                await driver.sweep(path.parent)
                remove_groups(f"{path.parent.name}-fn-*")
                shutil.rmtree(path.parent, ignore_errors=True)
        except OSError:  # its emulator is running, or it belongs to another user
            continue
