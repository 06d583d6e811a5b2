"""A failed load behind MMS: how it is reported, so that the model does not stay registered.

A model that stays registered cannot be loaded again: the platform's retry gets 409 for ever. There are two ways to fail
a load, and only the second one has a status of our choice:

**Hanging up.** The worker's connection is closed. MMS responds with 500 and unregisters the model. This is for every
failure but 507.

**A reply with a status.** MMS passes the status of a reply to its load command on, which 507 needs: it makes SageMaker
unload other models and retry. But after such a reply, MMS unregisters the model from the worker's own thread, which it
has interrupted. If the launcher is still alive, the wait for its end throws InterruptedException, the clean-up counts
as failed, and the model stays registered (WorkLoadManager.shutdownServerThread, ModelManager.unregisterModel). So Java
must have noticed the launcher's end before the reply is sent. The states and their order:

1. KILLING: the worker has no process (any more) and is held (`Host.hold_rejected`). The launcher has been killed, and
   its stdin is watched. The launcher's end also closes the model (MmsAdapter): its files are removed, but the worker's
   connection stays open.
2. REPLIED: Java has closed its end of the launcher's stdin, which it does last of all (ProcessImpl.initStreams), and
   the reply has been sent. If the stdin cannot be watched, because it is not a pipe or the launcher had ended, this
   state follows at once. MMS hangs up afterwards, and the fork server releases the worker.
3. NOT_NEEDED instead of REPLIED: MMS has already disconnected, because its threads interrupt one another.

MMS can still lose another model's load when it unregisters this one: see lost_loads.py.
"""

import os
from enum import Enum

from polyhost.container.errors import Failure
from polyhost.container.forkserver.front_end import Host
from polyhost.container.forkserver.records import WorkerRecord
from polyhost.container.mms.launcher import Launcher
from polyhost.container.system.event_loop import EventLoop


class RejectionState(Enum):
    """The states of a load that is failed by a reply; the module's docstring explains them."""

    KILLING = "killing"
    REPLIED = "replied"
    NOT_NEEDED = "not needed"


_TRANSITIONS: dict[RejectionState, frozenset[RejectionState]] = {
    RejectionState.KILLING: frozenset({RejectionState.REPLIED, RejectionState.NOT_NEEDED}),
    RejectionState.REPLIED: frozenset(),
    RejectionState.NOT_NEEDED: frozenset(),
}


class RejectedLoad:
    """A load that is failed by a reply with a status, sent once Java has noticed the launcher's end."""

    def __init__(self, loop: EventLoop, worker: WorkerRecord, failure: Failure) -> None:
        self.state = RejectionState.KILLING
        self._loop = loop
        self._worker = worker
        self._failure = failure

    def start(self, host: Host, launcher: Launcher) -> None:
        """Kill the launcher, and reply as soon as Java has noticed."""
        host.hold_rejected(self._worker)
        stdin = launcher.kill_and_open_stdin()
        if stdin is None:
            self._reply()
        else:
            self._loop.watch(stdin, lambda: self._on_noticed(stdin))

    def _on_noticed(self, stdin: int) -> None:
        self._loop.unwatch(stdin)
        os.close(stdin)
        if self._worker.is_released:
            self._enter(RejectionState.NOT_NEEDED)
        else:
            self._reply()

    def _reply(self) -> None:
        """Send the status, and the message as plain text: MMS puts it into its own JSON."""
        self._enter(RejectionState.REPLIED)
        self._worker.fail_load(self._failure.code, self._failure.message)

    def _enter(self, state: RejectionState) -> None:
        assert state in _TRANSITIONS[self.state], f"{self.state} -> {state}"
        self.state = state
