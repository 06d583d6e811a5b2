"""Deadlines of loads, requests and streamed responses, and workers that vanished."""

import os
import signal
import time
from collections.abc import Callable, Container, Mapping
from functools import partial

from polyhost.container.forkserver.records import HostedModel, WorkerRecord
from polyhost.container.forkserver.survivors import Survivor
from polyhost.container.forkserver.workers import Workers
from polyhost.container.worker.status_page import StatusPage, WorkerState
from polyhost.events import get_logger

_STREAM_S = 480.0  # SageMaker's limit for a streamed response (Model Hosting FAQs)

logger = get_logger(__name__)


class Deadlines:
    """Kills, once a round, the workers that have exceeded a deadline."""

    def __init__(
        self,
        models: Mapping[int, HostedModel],
        workers: Workers,
        load_timeout_s: float,
        on_exited: Callable[[int, int], None],
    ) -> None:
        self._models = models
        self._workers = workers
        self._load_timeout_s = load_timeout_s
        self._on_exited = on_exited
        self._missing: set[int] = set()  # sequence numbers of the workers whose process was missing in the last round

    def check(self) -> None:
        """Check the workers that this fork server has forked or taken over."""
        was_missing, self._missing = self._missing, set()
        self._workers.for_each(partial(self._check_worker, time.monotonic(), was_missing))

    def _check_worker(self, now: float, was_missing: Container[int], worker: WorkerRecord) -> None:
        limit_s = self._limit_s(worker.status, worker.model)
        if limit_s is not None and worker.timed_out_after_s is None and now - worker.since > limit_s:
            worker.timed_out_after_s = limit_s
            worker.kill()
        if worker.pid is None or _exists(worker.pid):
            return
        # The exit of a missing process is about to be reported, or never: if its zygote died between reaping it and
        # reporting it. One round tells.
        self._missing.add(worker.sequence)
        if worker.sequence in was_missing:
            self._on_exited(worker.sequence, signal.SIGKILL)

    def check_survivors(self) -> None:
        """Check the workers behind MMS that outlived their fork server."""
        now = time.monotonic()
        for model in self._models.values():
            for survivor in list(model.survivors):
                self._check_survivor(now, model, survivor)

    def _check_survivor(self, now: float, model: HostedModel, survivor: Survivor) -> None:
        status = survivor.status
        limit_s = self._limit_s(status, model) if status is not None else None
        if status is None or limit_s is None or now - status.since <= limit_s:
            return
        if survivor.kill():
            message = "a worker that outlived its fork server did not respond within %g s; killed"
            logger.error(message, limit_s, extra={"model": model.name, "pid": survivor.pid})
        survivor.close()
        model.survivors.remove(survivor)

    def _limit_s(self, status: StatusPage, model: HostedModel) -> float | None:
        match status.state:
            case WorkerState.BUSY:
                return model.response_timeout_s
            case WorkerState.LOADING | WorkerState.STARTING:
                return self._load_timeout_s
            case WorkerState.STREAMING:
                return _STREAM_S
        return None


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
