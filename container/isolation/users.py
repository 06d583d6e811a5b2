"""A user for each model: what the kernel keeps apart by user, Landlock or not.

Such are System V IPC, sockets that have a path, the owner and mode of files, CPU affinity of others' processes, and a
limit for processes. Only root can do it, with capabilities of Docker's default set.
"""

import os
import resource
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from polyhost.container.config import Config, Isolation
from polyhost.container.isolation.limits import lower
from polyhost.container.system.prctl import set_dumpable
from polyhost.container.system.procfs import effective_capabilities
from polyhost.events import get_logger

# Of the container, and of a model's process until it has become its user, by number (capabilities(7)).
_NEEDED = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "KILL": 5, "SETGID": 6, "SETUID": 7}
_LOST = (
    "they can reach one another's System V IPC and sockets that have a path, change owner, mode and times of files, and"
    " POLYHOST_WORKER_PROCESSES is not in force"
)

logger = get_logger(__name__)


def with_usable_uids(config: Config, run_dir: Path) -> Config:
    """Return the settings with `model_uids` if each model is to have a user and can have one, else with None.

    In the strict mode a line in the log says why it cannot, and what is lost. Opens the run folder for the users.
    """
    uids = config.model_uids
    if config.isolation is not Isolation.STRICT or uids is None:
        return replace(config, model_uids=None)
    if os.geteuid() == 0:
        for folder in (run_dir, run_dir / "tmp"):  # each model's own folder is below; nothing is to be listed
            folder.chmod(0o711)
    reason = _why_not(config, run_dir, uids[0])
    if reason is None:
        return config
    message = "isolation strict: the models have no users of their own, since %s; %s"
    logger.warning(message, reason, _LOST)
    return replace(config, model_uids=None)


def become(uid: int, processes: int) -> None:
    """Become this user and no other again, with the group of the same number. Raises OSError.

    `processes`: how many processes and threads the user may have.
    """
    lower(resource.RLIMIT_NPROC, processes)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    set_dumpable(True)  # or its files in /proc would be root's: programs read, and write to, their own
    # Libraries ask for the user's name, and the user database has none (getpass.getuser).
    os.environ["USER"] = os.environ["LOGNAME"] = f"model-{uid}"


def kill_processes_of(uid: int) -> int:
    """Kill the user's processes, all at once: a fork bomb cannot outrun that. Raises OSError if no process can be had.

    A child does so, as that user. Returns its pid, and does not wait: one of the user's processes may have stopped it.
    """
    pid = os.fork()
    if pid == 0:
        try:
            os.setresuid(uid, uid, uid)
            os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)
    return pid


def _why_not(config: Config, run_dir: Path, uid: int) -> str | None:
    if os.geteuid() != 0:
        return "only root can give them any"
    present = effective_capabilities()
    missing = [name for name, number in _NEEDED.items() if not present >> number & 1]
    if missing:
        return f"the container lacks the capabilities {', '.join(missing)}"
    return _try(uid, config.worker_processes, list(_needed_by_models(config, run_dir)))


def _needed_by_models(config: Config, run_dir: Path) -> Iterator[Path]:
    """Yield folders that each model's process must be able to enter, and are there."""
    layers = [config.layers_dir] if config.layers_dir else []
    named = [*map(Path, filter(None, [*sys.path, sys.prefix, sys.base_prefix, *layers])), run_dir / "tmp"]
    yield from (folder for folder in named if folder.exists())
    for root in config.model_roots:
        yield next(folder for folder in (root, *root.absolute().parents) if folder.exists())


def _try(uid: int, processes: int, folders: list[Path]) -> str | None:
    """Become the user in a child, and look whether it reaches the folders; return what it does not."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, _try_here(uid, processes, folders).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, errors="replace") as file:  # noqa: PTH123
        reason = file.read()
    os.waitpid(pid, 0)
    return reason or None


def _try_here(uid: int, processes: int, folders: list[Path]) -> str:
    try:
        become(uid, processes)
    except OSError as error:
        return f"no process can become user {uid} here ({error.strerror}; POLYHOST_MODEL_UIDS)"
    closed = [folder for folder in folders if not os.access(folder, os.X_OK)]
    return f"another user than root cannot enter {closed[0]}" if closed else ""
