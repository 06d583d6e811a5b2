"""Distribution of one model's invocations to its workers: queue, batches, bursts, deadlines."""

import asyncio
import time
from collections.abc import Callable, Sequence

from polyhost.container.errors import Failure
from polyhost.container.native import errors
from polyhost.container.native.decoder import Chunk, WorkerResponse
from polyhost.container.native.errors import Rejection
from polyhost.container.native.invocation import Invocation
from polyhost.container.native.queue import InvocationQueue, PendingBytes
from polyhost.container.native.serving_options import ServingOptions
from polyhost.container.native.stats import ModelStats
from polyhost.container.native.worker_connection import WorkerConnection
from polyhost.container.native.worker_pool import WorkerPool

_GRACE_S = 2.0  # the fork server has the same deadline and knows more: its own failure should come first
_MAX_STREAM_S = 600.0


class BurstSize:
    """How many invocations to send to a worker in one command when the model takes no batches.

    Each hand-over costs both processes a system call and often a context switch, which is more than the prediction of a
    small model. So a worker gets as many at once as it has been doing in MAX_SECONDS, which bounds how long one of them
    waits for those before it.
    """

    MAX_SECONDS = 0.002
    _MAX_SIZE = 16
    _MEMORY = 0.9  # weight of the past in the moving average

    def __init__(self, enabled: bool = True) -> None:
        self._response_s = self.MAX_SECONDS  # moving average of a worker's time for one response
        self._allowed = enabled

    def on_response(self, seconds: float) -> None:
        self._response_s = self._MEMORY * self._response_s + (1 - self._MEMORY) * seconds

    def on_stream(self) -> None:
        """Stop bursts for good: a slow reader of one streamed response would hold up the invocations behind it."""
        self._allowed = False

    def size(self, waiting: int, idle_workers: int) -> int:
        """Return at least 1. No worker gets more than its share of what waits."""
        if not self._allowed:
            return 1
        share = -(-waiting // max(1, idle_workers))
        return max(1, min(share, int(self.MAX_SECONDS / max(self._response_s, 1e-6)), self._MAX_SIZE))


class Dispatcher:
    """Sends a model's invocations to its idle workers in the order of arrival, and their responses to the callers.

    Invariants:
    - An invocation is in one place: in the queue, in the `invocations` of one connection, or answered.
    - If an invocation waits and a worker is idle, the batch timer runs: the batch is not full, and not due yet.
    - Every caller hears exactly once of a response or a rejection, unless it cancelled before.

    It never asks for the model's state: ServedModel rejects what must not be submitted, and calls `drain` and `close`.
    """

    def __init__(
        self, name: str, options: ServingOptions, load_timeout_s: float, stats: ModelStats, pending: PendingBytes,
        pool: WorkerPool, bursts: bool = True,
    ) -> None:  # fmt: skip
        self._name = name
        self._options = options
        # A worker that replaced a dead one may have to load the model before it responds.
        self._worker_limit_s = options.response_timeout_s + load_timeout_s + 4 * _GRACE_S
        self._stats = stats
        self._pending = pending
        self._pool = pool
        self._queue = InvocationQueue(pending)
        self._burst = BurstSize(bursts)
        self._batch_timer: asyncio.TimerHandle | None = None
        self._draining = False
        self._drained = asyncio.Event()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def _someone_waits_for_a_worker(self) -> bool:
        return any(
            not invocation.cancelled for connection in self._pool.connections for invocation in connection.invocations
        )

    # From the clients

    def submit(self, invocation: Invocation) -> None:
        """Send it to a worker, or queue it. Raises Rejection if the queue is full."""
        idle = self._pool.idle
        if idle and not self._queue and self._options.batch_size == 1:
            self._stats.batch_sizes.add(1)
            idle.pop().send([invocation])
            return
        if len(self._queue) >= self._options.queue_size:
            raise self.count(errors.queue_full(self._name, len(self._queue)))
        if self._pending.exceeded:
            raise self.count(errors.pending_bytes_exceeded(self._name, self._pending.limit))
        self._queue.append(invocation)
        self.serve_queue()

    def on_cancelled(self, invocation: Invocation) -> None:
        """Remove it from the queue. A worker that has begun with it goes on, and its response is ignored."""
        if not invocation.sent:
            self._queue.remove(invocation)
        self._check_drained()

    def serve_queue(self) -> None:
        """Send what waits to idle workers, as far as both are there and a batch is due."""
        options, idle = self._options, self._pool.idle
        while self._queue and idle:
            if len(self._queue) < options.batch_size and options.batch_delay_ms:
                due = self._queue.first.arrived + options.batch_delay_ms / 1000
                if due > (now := time.monotonic()):
                    self._start_batch_timer(due - now)
                    return
            unbatched = options.batch_size == 1
            size = self._burst.size(len(self._queue), len(idle)) if unbatched else options.batch_size
            invocations = [self._queue.take() for _ in range(min(size, len(self._queue)))]
            self._stats.batch_sizes.add(1 if unbatched else len(invocations))
            idle.pop().send(invocations, burst=unbatched and len(invocations) > 1)

    def _start_batch_timer(self, seconds: float) -> None:
        def serve() -> None:
            self._batch_timer = None
            self.serve_queue()

        if self._batch_timer is None:
            self._batch_timer = asyncio.get_running_loop().call_later(seconds, serve)

    # From the workers: ResponseListener

    def on_response(self, invocation: Invocation, response: WorkerResponse, started: float, now: float) -> None:
        if response.more:
            invocation.streaming = True
            self._burst.on_stream()
        else:
            self._burst.on_response(now - started)
        stats = self._stats
        stats.responses[response.status] += 1
        stats.queue_seconds.add(started - invocation.arrived)
        stats.predict_seconds.add(now - started)
        if not invocation.cancelled:
            invocation.caller.on_response(invocation, response)

    def on_chunk(self, invocation: Invocation, chunk: Chunk) -> None:
        if not invocation.cancelled:
            invocation.caller.on_chunk(invocation, chunk)

    def on_not_started(self, invocations: Sequence[Invocation]) -> None:
        for invocation in reversed(invocations):  # the first of them becomes the queue's first
            invocation.sent, invocation.connection = 0.0, None
            if not invocation.cancelled:
                self._queue.put_back(invocation)
        if self._draining:
            self._reject_queue(lambda: errors.unloading(self._name))

    def on_idle(self, connection: WorkerConnection) -> None:
        if self._draining:
            self._check_drained()
        elif self._pool.add_idle(connection) and self._queue:
            self.serve_queue()

    def on_connection_lost(self, connection: WorkerConnection, failure: Failure) -> None:
        """Reject what the worker had in hand, and queue the rest again.

        A worker has one batch in hand; of a burst, it had begun with the first invocation only.
        """
        invocations, connection.invocations = connection.invocations, []
        for invocation in invocations[: self._options.batch_size]:
            self._reject(invocation, Rejection.of(failure))
        self.on_not_started(invocations[self._options.batch_size :])
        self.serve_queue()
        self._check_drained()

    # Deadlines and ends

    def expire_overdue(self, now: float) -> None:
        """Reject invocations past the response timeout, and end connections whose worker is stuck.

        The fork server kills a worker that is late, and says so; this is for when it cannot.
        """
        limit_s = self._options.response_timeout_s
        while self._queue and now - self._queue.first.arrived > limit_s:
            self._reject(self._queue.take(), errors.deadline_exceeded(self._name, limit_s, "queue"))
        late = errors.deadline_exceeded(self._name, limit_s, "predict")
        for connection in list(self._pool.connections):
            for invocation in connection.invocations:
                if now - invocation.arrived > limit_s + _GRACE_S and not (invocation.streaming or invocation.cancelled):
                    self._reject(invocation, late)
                    invocation.cancelled = True
            if connection.invocations:
                streaming = connection.invocations[0].streaming
                if now - connection.turn_started > (_MAX_STREAM_S if streaming else self._worker_limit_s):
                    connection.abort(late.failure)
        self._check_drained()

    async def drain(self, timeout_s: float) -> None:
        """Reject what waits, and return when workers have answered the rest. Raises TimeoutError."""
        self._draining = True
        self._reject_queue(lambda: errors.unloading(self._name))
        if self._someone_waits_for_a_worker:
            await asyncio.wait_for(self._drained.wait(), timeout_s)

    def close(self) -> None:
        """Close all connections and reject what they and the queue still have."""
        self._draining = True
        for connection in list(self._pool.connections):
            cut_off, connection.invocations = connection.invocations, []
            self._pool.close(connection)
            for invocation in cut_off:
                self._reject(invocation, errors.unloading(self._name))
        self._reject_queue(lambda: errors.not_loaded(self._name))
        self._check_drained()

    def reject_waiting(self, rejection: Rejection) -> None:
        self._reject_queue(lambda: rejection)

    def reject_all(self) -> None:
        """Reject all invocations, those in a worker's hands as well: the container stops."""
        self._reject_queue(lambda: errors.stopping(self._name))
        for connection in self._pool.connections:
            for invocation in connection.invocations:
                self._reject(invocation, errors.stopping(self._name))
                invocation.cancelled = True

    def count(self, rejection: Rejection) -> Rejection:
        """Count a rejection in the metrics, and return it."""
        self._stats.errors[rejection.failure.type] += 1
        self._stats.responses[rejection.failure.code] += 1
        return rejection

    def _check_drained(self) -> None:
        if self._draining and not self._someone_waits_for_a_worker:
            self._drained.set()

    def _reject_queue(self, rejection: Callable[[], Rejection]) -> None:
        while self._queue:
            self._reject(self._queue.take(), rejection())

    def _reject(self, invocation: Invocation, rejection: Rejection) -> None:
        self.count(rejection)
        if not invocation.cancelled:
            invocation.caller.on_rejected(invocation, rejection)
