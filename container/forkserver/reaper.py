"""Processes that lost their parent: adopted by the fork server, which is a subreaper (prctl(2)).

Two kinds of orphans come to it: workers whose zygote died, and leftovers, which a model's code started and which
outlive the process that started them, in whatever session they are.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Mapping

from polyhost.container.forkserver.records import HostedModel, WorkerRecord
from polyhost.container.forkserver.workers import Workers
from polyhost.container.forkserver.zygote.pool import ZygotePool
from polyhost.container.system.procfs import children, mark_of, with_descendants


class Reaper:
    """Reaps orphans, and kills the leftovers of models that are closed."""

    def __init__(
        self,
        models: Mapping[int, HostedModel],
        workers: Workers,
        zygotes: ZygotePool,
        on_exited: Callable[[int, int], None],
    ) -> None:
        self._models = models
        self._workers = workers
        self._zygotes = zygotes
        self._on_exited = on_exited

    def on_children(self) -> None:
        """Reap at once: hundreds of zombies would count towards the container's limit of processes."""
        # A zygote's own end is not looked for here: the end of its channel reports it.
        self._workers.for_each(self._reap_worker)
        self.reap_leftovers()

    def _reap_worker(self, worker: WorkerRecord) -> None:
        if worker.pid is not None:
            try:
                pid, status = os.waitpid(worker.pid, os.WNOHANG)
            except ChildProcessError:  # its zygote's child, as most are
                return
            if pid:
                self._on_exited(worker.sequence, status)

    def reap_leftovers(self) -> None:
        """Reap the leftovers that have ended, and kill those of closed models.

        A worker whose pid is not known yet must not be taken for one: its exit status would be lost.
        """
        if any(worker.pid is None for worker in self._workers):
            return
        for pid in self._leftovers():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        self.kill_leftovers()  # those that were started, or lost their parent, while their model was being closed

    @property
    def has_leftovers(self) -> bool:
        """Whether there are leftovers of any model."""
        return bool(self._leftovers())

    def kill_leftovers(self) -> None:
        """Kill the leftovers of models that are closed, recognised by the mark that they have inherited."""
        for leftover in self._leftovers():
            key = mark_of(leftover)
            if key is not None and key not in self._models:
                _kill_with_descendants(leftover)

    def kill_leftovers_of(self, model: HostedModel) -> None:
        """Kill the leftovers of one model, which may be open."""
        for leftover in self._leftovers():
            if mark_of(leftover) == model.key:
                _kill_with_descendants(leftover)

    def _leftovers(self) -> set[int]:
        return set(children()) - {worker.pid for worker in self._workers} - set(self._zygotes.pids().values())


def _kill_with_descendants(leftover: int) -> None:
    for pid in with_descendants(leftover):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
