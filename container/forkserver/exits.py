"""What follows the end of a worker: replies on its behalf, a replacement, or a failed load."""

import os
import signal
from collections.abc import Callable

from polyhost.container.errors import Failure, WorkerDiedError
from polyhost.container.forkserver.exit_status import explain_death
from polyhost.container.forkserver.front_end import FrontEnd
from polyhost.container.forkserver.records import WorkerRecord
from polyhost.container.forkserver.workers import Backoff, Workers
from polyhost.container.memory.oom import OomKills
from polyhost.container.worker.status_page import WorkerState
from polyhost.container.worker.types import WorkerExit
from polyhost.events import get_logger

_DEATHS_WITHOUT_BACKOFF = 2
_MAX_BACKOFF_S = 60.0
_MAX_REASON = 2000  # characters

logger = get_logger(__name__)


class ExitHandler:
    """Decides what follows the end of a worker, by what its status page says that it was doing."""

    def __init__(
        self,
        workers: Workers,
        front_end: FrontEnd,
        oom_kills: OomKills,
        on_only_model_failed: Callable[[Failure], None] | None,
    ) -> None:
        """`on_only_model_failed`: for a single-model container, whose model cannot be loaded; None for others."""
        self._workers = workers
        self._front_end = front_end
        self._oom_kills = oom_kills
        self._on_only_model_failed = on_only_model_failed

    def on_exited(self, sequence: int, wait_status: int) -> None:
        """Handle the end of a worker's process; does nothing if it has been handled. `wait_status` is waitpid's."""
        worker = self._workers.remove_ended(sequence)
        if worker is None:
            return
        try:
            self._handle(worker, wait_status)
        except Exception:
            logger.exception("failed to handle the end of a worker", extra={"model": worker.model.name})
            if not worker.is_released:
                self._workers.release(worker)

    def _handle(self, worker: WorkerRecord, wait_status: int) -> None:
        if worker.connection.hung_up:
            self._workers.release(worker)
        elif os.waitstatus_to_exitcode(wait_status) == WorkerExit.BACKOFF_OVER and worker.runs_our_code:
            self._workers.replace(worker)
        elif failure := worker.failure():
            self.on_load_failed(worker, failure)
        else:
            self._on_death(worker, wait_status)

    def _on_death(self, worker: WorkerRecord, wait_status: int) -> None:
        error = worker.killed_for or explain_death(
            wait_status,
            activity=worker.activity,
            oom_killed=wait_status == signal.SIGKILL and self._oom_kills.attribute(),
            timed_out_after_s=worker.timed_out_after_s,
            output=worker.last_lines,
        )
        details = {"output": list(worker.last_lines)}
        logger.error("%s", error, extra={"model": worker.model.name, "pid": worker.pid, "details": details})
        match worker.status.state:
            case WorkerState.STARTING | WorkerState.LOADING | WorkerState.FAILED:
                self.on_load_failed(worker, Failure.of(error, worker.model.name, "load"))
            case WorkerState.BUSY if worker.fail_requests(error, self._front_end.substitute_code):
                self._replace_after_death(worker, str(error))
            case WorkerState.BUSY | WorkerState.READING | WorkerState.RESPONDING | WorkerState.STREAMING:
                # Half a command may have been read, or half a reply sent: no other worker can go on from there.
                failure = Failure.of(error, worker.model.name, worker.phase)
                self._workers.release(worker, failure)
                if failure.phase == "load" and not worker.model.is_loaded and self._on_only_model_failed is not None:
                    self._on_only_model_failed(failure)
            case WorkerState.IDLE | WorkerState.BACKING_OFF:
                self._replace_after_death(worker, str(error))

    def _replace_after_death(self, worker: WorkerRecord, reason: str) -> None:
        """Replace the worker: at once after the first deaths in a row, with growing pauses after more of them.

        During a pause the replacement rejects requests with the reason.
        """
        model = worker.model
        model.deaths = 1 if worker.has_responded else model.deaths + 1
        if model.deaths <= _DEATHS_WITHOUT_BACKOFF:
            self._workers.replace(worker)
            return
        seconds = min(_MAX_BACKOFF_S, 2.0 ** (model.deaths - _DEATHS_WITHOUT_BACKOFF - 1))
        reason = f"the model failed {model.deaths} times in a row; backing off for {seconds:g} s; last error: {reason}"
        logger.error("%s", reason, extra={"model": model.name})
        self._workers.replace(worker, Backoff(seconds, reason[:_MAX_REASON]))

    def on_fork_failed(self, sequence: int, reason: str, status: int) -> None:
        """Handle a worker for which no process could be forked."""
        worker = self._workers.remove_ended(sequence)
        assert worker is not None
        error = WorkerDiedError(f"no process could be forked for the model: {reason}", status)
        logger.error("%s", error, extra={"model": worker.model.name})
        if not worker.reload:
            worker.read_load_command()  # MMS does not notice a hang-up before it has sent the command
        self.on_load_failed(worker, Failure.of(error, worker.model.name, "load"))

    def on_load_failed(self, worker: WorkerRecord, failure: Failure) -> None:
        """Handle a load that failed, or was not even begun; the worker has no process."""
        if worker.reload:
            self._replace_after_death(worker, failure.message)
        elif worker.model.is_loaded:
            self._workers.release(worker)
            self._front_end.on_extra_worker_failed(worker)
        elif self._on_only_model_failed is not None:
            self._on_only_model_failed(failure)
        else:
            self._front_end.on_load_failed(worker, failure)
