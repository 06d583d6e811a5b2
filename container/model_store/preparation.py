"""What the supervisor does for a model store before it starts anything: checks, and a folder for unpacked archives."""

import fcntl
import importlib.util
import os
from dataclasses import replace
from pathlib import Path

from polyhost.container.errors import ConfigError
from polyhost.container.model_store.settings import StoreSettings, is_pattern
from polyhost.events import get_logger

_LOCK = ".lock"

logger = get_logger(__name__)


def prepare(settings: StoreSettings, state_dir: str | None, run_dir: Path) -> StoreSettings:
    """Check the store, and choose the folder of unpacked archives. It is this process's until the process ends.

    Without a setting it is in the state folder, where it outlives the container; if that cannot be had, in the run
    folder. Raises ConfigError.
    """
    _check(settings)
    if settings.unpack_dir is not None:
        problem = _take(Path(settings.unpack_dir))
        if problem:
            raise ConfigError(f"POLYHOST_UNPACK_DIR={settings.unpack_dir!r}: {problem}; choose another folder")
        return settings
    if state_dir is not None:
        folder = Path(state_dir).absolute() / "models"
        problem = _take(folder)
        if not problem:
            return replace(settings, unpack_dir=str(folder))
        message = (
            "%s: %s; archives are unpacked in the run folder and do not outlive the container (POLYHOST_UNPACK_DIR)"
        )
        logger.warning(message, folder, problem)
    folder = run_dir / "models"
    folder.mkdir()
    return replace(settings, unpack_dir=str(folder))


def _check(settings: StoreSettings) -> None:
    """Check what needs no connection. A store that does not answer yet may do so later."""
    folder = settings.folder
    patterns = [pattern for pattern in settings.load_at_start if is_pattern(pattern)]
    if settings.prefix.scheme in ("http", "https") and patterns:
        message = f"POLYHOST_LOAD_AT_START={patterns[0]!r}: a web server's models cannot be listed; name each of them"
        raise ConfigError(message)
    if folder is None:
        if importlib.util.find_spec("obstore") is None:
            where = settings.where
            raise ConfigError(
                f"POLYHOST_MODEL_STORE={where!r} takes the package obstore: pip install 'polyhost[store]'"
            )
    elif not folder.is_dir():
        raise ConfigError(f"POLYHOST_MODEL_STORE={settings.where!r}: there is no such folder; create it, or mount it")


def _take(folder: Path) -> str:
    """Make the folder and lock it; return what is in the way."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        return error.strerror or str(error)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the descriptor stays open as long as this process lives
    except BlockingIOError:
        os.close(lock)
        return "another container uses it"
    return ""
