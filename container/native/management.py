"""Who asks for management: models of the container may not load, unload or list models.

SageMaker asks from outside, and its requests cost one question to the kernel here. A client on this machine is looked
for among the processes of models, once for each connection. Invocations are not asked about.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from pathlib import Path

from polyhost.container.native.errors import Rejection
from polyhost.container.system.procfs import mark_of, with_descendants
from polyhost.container.system.sock_diag import Address, LocalSocket, find_tcp, is_own_address
from polyhost.events import get_logger

_ROOT_CGROUP = 1  # of version 2, where everybody is if the machine uses version 1

logger = get_logger(__name__)


class ManagementGuard:
    """Tells the connections of the container's models from others."""

    def __init__(self, model_uids: tuple[int, int] | None) -> None:
        """`model_uids`: the first and the last user of models, if they have users of their own."""
        self._supervisor = os.getppid()
        self._users = range(model_uids[0], model_uids[1] + 1) if model_uids else range(0)
        self._warned = False

    def is_remote(self, client: Address, server: Address) -> bool:
        """Return whether the client is on another machine, or in another container. The addresses are TCP's."""
        try:
            return find_tcp(client, server) is None and not is_own_address(client[0])
        except OSError as error:
            self._warn(error)
            return True

    def is_model(self, client: Address, server: Address) -> bool:
        """Return whether the client is a process of a model; takes milliseconds, for a thread."""
        try:
            theirs, ours = find_tcp(client, server), find_tcp(server, client)
        except OSError as error:
            self._warn(error)
            return False
        if theirs is None or theirs.inode == 0:  # it has sent a request and has vanished, as no client of use would
            return True
        return theirs.user in self._users or self._is_of_model(theirs, ours)

    def _is_of_model(self, theirs: LocalSocket, ours: LocalSocket | None) -> bool:
        models = {pid for pid in with_descendants(self._supervisor) if mark_of(pid) is not None}
        if _holds(models, theirs.inode):
            return True
        # A descriptor that is on its way between two processes is in none. So is one of a process that cannot be seen
        # from here: of another user or another container, which has another control group.
        if ours is None or theirs.cgroup != ours.cgroup or theirs.cgroup in (None, _ROOT_CGROUP):
            return False
        others = {int(item.name) for item in Path("/proc").iterdir() if item.name.isdecimal()} - models
        return not _holds(others, theirs.inode)

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "models can load and unload models: the kernel does not tell where requests come from (%s)", error
            )


def forbidden() -> Rejection:
    message = "models of this container may not load, unload or list models"
    return Rejection(HTTPStatus.FORBIDDEN, "ForbiddenError", message)


def _holds(pids: Iterable[int], inode: int) -> bool:
    return any(f"socket:[{inode}]" in _links(pid) for pid in pids)


def _links(pid: int) -> Iterator[str]:
    """Yield what the process's descriptors are open on."""
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # it has been closed
                yield str(descriptor.readlink())
    except OSError:  # the process has ended, or is another user's
        return
