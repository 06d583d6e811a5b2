"""The folder of a running emulator: where instances have their disks. It tells the living from the dead by a lock."""

import fcntl
import logging
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from polyhost.emulator.hosting.interfaces import Driver

_PREFIX = "polyhost-emulator-"
_LOCK = "lock"  # locked while its emulator lives, however that ends; holds the name of the driver

logger = logging.getLogger("polyhost.emulator")


@asynccontextmanager
async def workplace(driver: Driver, name: str) -> AsyncIterator[Path]:
    """A folder of one's own, with a driver of this name; what killed emulators left behind is cleared away first."""
    await _sweep(driver, name)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        with (folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.write(name)
            lock.flush()
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _sweep(driver: Driver, name: str) -> None:
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK}"):
        try:
            with path.open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if lock.read() != name:  # another driver's, or not yet written
                    continue
                logger.warning("an emulator that was killed left %s: its containers are removed", path.parent)
                await driver.sweep(path.parent)
                shutil.rmtree(path.parent, ignore_errors=True)
        except OSError:  # it lives, or is another user's
            continue
