"""The folder of `--state`: private to its user, and used by one emulator at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polyhost.emulator.errors import StartError

_LOCK = "lock"


@contextmanager
def locked_state_folder(folder: Path | None) -> Iterator[None]:
    """Make the folder if it is missing, and hold its lock. Without a folder there is nothing to do.

    The kernel frees the lock when the emulator ends, however it does. Raises StartError.
    """
    if folder is None:
        yield
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("a")
    except OSError as error:
        raise StartError(f"cannot use the state folder {folder} ({error.strerror}); choose another --state") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StartError(
                f"another emulator uses the state folder {folder}; stop that one, or choose another --state"
            ) from None
        yield
