"""The end of the container: how long each part of it may take, and the ends of the processes.

`docker stop` sends SIGKILL 10 s after SIGTERM, SageMaker 30 s after it; a front end that has more time for running
invocations (POLYHOST_FINISH_SECONDS) gives all others the same.
"""

import os
import signal
import time
from collections.abc import Callable, Collection

from polyhost.container.system.procfs import children

_AFTER_INVOCATIONS_S = 3.5  # for everything else
# What the later parts keep of it, whatever the earlier ones take.
_AFTER_FRONT_END_S, _AFTER_SIGTERM_S, _AFTER_SIGKILL_S = 2.0, 1.0, 0.5
# What a part may take at most, if there is more time.
_SIGTERM_S, _SIGKILL_S, _LOG_S = 4.0, 2.0, 2.0
_POLL_S = 0.05


class StopBudget:
    """The time from now until the container has ended, in seconds, shared by the parts of its end in their order."""

    def __init__(self, finish_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`finish_s`: what running invocations have, or Multi Model Server for its own end."""
        self._clock = clock
        self._end = clock() + finish_s + _AFTER_INVOCATIONS_S

    @property
    def front_end_s(self) -> float:
        """For the native front end to answer what it has, and to end."""
        return self._left(_AFTER_FRONT_END_S)

    @property
    def sigterm_s(self) -> float:
        """For the processes to end by themselves."""
        return min(_SIGTERM_S, self._left(_AFTER_SIGTERM_S))

    @property
    def sigkill_s(self) -> float:
        """For the kernel to end the others."""
        return min(_SIGKILL_S, self._left(_AFTER_SIGKILL_S))

    @property
    def log_s(self) -> float:
        """For the log collector to write what is left."""
        return min(_LOG_S, self._left(0.0))

    def _left(self, reserved_s: float) -> float:
        return max(0.0, self._end - reserved_s - self._clock())


def stop_children(spared: Collection[int], budget: StopBudget) -> None:
    """Send SIGTERM to all children, adopted ones included, and SIGKILL to those that do not end."""
    for number, seconds in ((signal.SIGTERM, budget.sigterm_s), (signal.SIGKILL, budget.sigkill_s)):
        deadline = time.monotonic() + seconds
        while left := set(children()) - set(spared):
            for pid in left:
                _signal(pid, number)
            if time.monotonic() > deadline:
                break
            if not _reap():
                time.sleep(_POLL_S)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _reap() -> int:
    """Collect the exit statuses of all children that have ended; return their number."""
    reaped = 0
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            reaped += 1
    except ChildProcessError:
        pass
    return reaped
