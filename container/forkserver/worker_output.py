"""What native code prints in the workers, as events in the container's log."""

import time
from functools import partial

from polyhost.container.forkserver.records import WorkerRecord
from polyhost.container.system.event_loop import EventLoop
from polyhost.events import get_logger

_TURN_BYTES = 4096
_PAUSE_FACTOR = 4.0  # times the duration of the turn before it

logger = get_logger(__name__)


class OutputLog:
    """Logs the workers' output in short turns, so that one that prints without end does not occupy the loop."""

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop

    def watch(self, worker: WorkerRecord) -> None:
        """Log the worker's output as it comes."""
        self._loop.watch(worker.output, partial(self._take_turn, worker))

    def unwatch(self, worker: WorkerRecord) -> None:
        """Stop; must come before the output is closed, for its descriptor may be another's afterwards."""
        self._loop.unwatch(worker.output)

    def _take_turn(self, worker: WorkerRecord) -> None:
        start = time.monotonic()
        self._loop.unwatch(worker.output)
        if self._log(worker, _TURN_BYTES):
            self._loop.after(_PAUSE_FACTOR * (time.monotonic() - start), partial(self._resume, worker))

    def _resume(self, worker: WorkerRecord) -> None:
        if worker.has_process:
            self.watch(worker)

    def drain(self, worker: WorkerRecord) -> None:
        """Log what is left of the output of a worker that has ended."""
        self._log(worker)

    def _log(self, worker: WorkerRecord, *limit: int) -> bool:
        """Return False at the end of the output."""
        lines = worker.output.read(*limit)
        for line in lines or ():
            logger.info("%s", line, extra={"model": worker.model.name, "pid": worker.pid})
        worker.last_lines.extend(lines or ())
        return lines is not None
