"""One load of one model in the native front end: its lifecycle, from the load request until nothing is left of it."""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from polyhost.container.config import Config, Optimization
from polyhost.container.control_protocol import CloseModel, ModelRef, OpenModel
from polyhost.container.errors import INSUFFICIENT_STORAGE, Failure
from polyhost.container.native import errors
from polyhost.container.native.dispatcher import Dispatcher
from polyhost.container.native.errors import Rejection
from polyhost.container.native.fork_server_client import ForkServerClient
from polyhost.container.native.invocation import Invocation
from polyhost.container.native.queue import PendingBytes
from polyhost.container.native.serving_options import ServingOptions
from polyhost.container.native.stats import ModelStats
from polyhost.container.native.worker_connection import GARBLED, WorkerConnection, WorkerConnections
from polyhost.container.native.worker_pool import WorkerPool
from polyhost.container.worker.protocol import LoadCommand
from polyhost.events import get_logger

_MAX_BACKOFF_S = 60.0
_GARBLER_PAUSE_S = 1.0
_MOST_LOST_FORK_SERVERS = 2  # during one load, which may be what kills them

logger = get_logger(__name__)


class ModelState(Enum):
    """Where a model is in its life. Its value is what a client reads.

    Two ends differ. "Its name is free" (OVERDUE, CLOSED): the model may be loaded anew under that name. "Nothing is
    left" (CLOSED): the fork server has reported that all of its processes and files are gone. Mostly both come at once;
    but where processes do not end in time, the name must not be lost for ever.
    """

    LOADING = "loading"  # no worker has loaded it yet; invocations wait
    READY = "ready"
    BACKING_OFF = "backing off"  # every worker is lost and none could be had; invocations are rejected with the reason
    DRAINING = "unloading"  # workers finish what they have; everything else is rejected
    UNLOADING = "being unloaded"  # connections are closed; the fork server stops what is left
    OVERDUE = "overdue"  # its processes have not ended in time
    CLOSED = "closed"


_TRANSITIONS: dict[ModelState, frozenset[ModelState]] = {
    # A load that fails goes to UNLOADING, one that is interrupted by an unload to DRAINING.
    ModelState.LOADING: frozenset({ModelState.READY, ModelState.DRAINING, ModelState.UNLOADING}),
    # To UNLOADING, here and from BACKING_OFF, where the load's deadline passes at the moment of its success.
    ModelState.READY: frozenset({ModelState.BACKING_OFF, ModelState.DRAINING, ModelState.UNLOADING}),
    # To itself where the next attempt fails.
    ModelState.BACKING_OFF: frozenset(
        {ModelState.READY, ModelState.BACKING_OFF, ModelState.DRAINING, ModelState.UNLOADING}
    ),
    ModelState.DRAINING: frozenset({ModelState.UNLOADING}),
    ModelState.UNLOADING: frozenset({ModelState.OVERDUE, ModelState.CLOSED}),
    ModelState.OVERDUE: frozenset({ModelState.CLOSED}),
    ModelState.CLOSED: frozenset(),
}
_READY = ModelState.READY  # a global is found faster than an enum's member, and `submit` runs for each request
_LOADED = frozenset({ModelState.READY, ModelState.BACKING_OFF})
_NAME_FREE = frozenset({ModelState.OVERDUE, ModelState.CLOSED})
_CLOSE_SENT = frozenset({ModelState.UNLOADING, ModelState.OVERDUE, ModelState.CLOSED})


@dataclass(frozen=True)
class ServingSpec:
    """What to serve. The archive is unpacked in the model's directory; `url` names it as the platform did."""

    model: ModelRef
    url: str
    settings: ServingOptions


@dataclass(frozen=True)
class ModelTimeouts:
    """In seconds. `load_grace`: the fork server's own limit comes this much before ours, because it knows more."""

    drain: float = 330.0  # SageMaker waits 360 s for an unload (Triton's SageMaker server keeps to 350)
    close: float = 20.0
    load_grace: float = 10.0


@dataclass(frozen=True)
class ServingContext:
    """What all models share."""

    config: Config
    fork_server: ForkServerClient
    connections: WorkerConnections
    pending: PendingBytes
    timeouts: ModelTimeouts


class ServedModel:
    """One load of one model. The Dispatcher serves its invocations, the WorkerPool has its connections.

    `state` moves along _TRANSITIONS only. `on_name_free` is called once each for OVERDUE and CLOSED.
    """

    def __init__(
        self,
        key: int,
        spec: ServingSpec,
        context: ServingContext,
        stats: ModelStats,
        on_name_free: Callable[["ServedModel"], None],
    ) -> None:
        config, model, settings = context.config, spec.model, spec.settings
        self.key = key
        self.spec = spec
        self.stats = stats
        self.state = ModelState.LOADING
        self._context = context
        self._fork_server = context.fork_server
        self._on_name_free = on_name_free
        self._pool = WorkerPool(
            key,
            LoadCommand(model.name, model.directory, settings.batch_size, model.handler, None, ""),
            config.workers or (1 if config.multi_model else config.max_workers),
            context.fork_server,
            connect=lambda: context.connections.new(self._dispatcher, self),
            disconnect=context.connections.remove,
            on_open_failed=self._on_open_failed,
        )
        self._dispatcher = Dispatcher(
            model.name, settings, config.load_timeout_s, stats, context.pending, self._pool,
            bursts=config.enabled(Optimization.BURSTS),
        )  # fmt: skip
        # The load's outcome; done from the moment at which the state is no longer LOADING, at the latest.
        self._load_outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._name_free = asyncio.Event()
        self._closed = asyncio.Event()
        self._fork_servers_lost = 0  # during the load
        self._failed_attempts = 0  # in a row, since a worker last loaded the model
        self._garbler_replaced = -math.inf  # when a worker with malformed replies was last replaced
        self._backoff_reason: Failure | None = None  # why the last of them failed; read while BACKING_OFF

    @property
    def name(self) -> str:
        return self.spec.model.name

    @property
    def url(self) -> str:
        return self.spec.url

    @property
    def loaded(self) -> bool:
        """Whether it is loaded as its platform sees it: a model that backs off still is."""
        return self.state in _LOADED

    @property
    def waiting(self) -> int:
        """Return how many invocations wait for a worker."""
        return self._dispatcher.waiting

    @property
    def running(self) -> int:
        """Return how many invocations workers have."""
        return self._pool.running

    @property
    def workers(self) -> int:
        return len(self._pool)

    def _enter(self, state: ModelState) -> None:
        assert state in _TRANSITIONS[self.state], f"model {self.name!r}: {self.state} -> {state}"
        self.state = state
        if state in _NAME_FREE:
            self._on_name_free(self)
            self._name_free.set()
        if state is ModelState.CLOSED:
            self._closed.set()

    # Load and unload

    async def load(self) -> None:
        """Have the model loaded by its first worker. Raises Rejection; the caller must `close` it then.

        While there is no fork server, the load waits for the next one.
        """
        start = time.monotonic()
        limit_s = self._context.config.load_timeout_s + self._context.timeouts.load_grace
        self._announce()
        await self._pool.add()
        try:
            await asyncio.wait_for(self._load_outcome, limit_s)
        except TimeoutError:
            self.stats.load_failures += 1
            raise errors.load_deadline_exceeded(self.name, limit_s) from None
        except BaseException:
            self.stats.load_failures += 1
            raise
        self.stats.loads += 1
        self.stats.add_load_seconds("total", time.monotonic() - start)
        self._pool.grow()
        self._dispatcher.serve_queue()

    async def unload(self) -> None:
        """End it when running invocations are answered; those that wait are rejected. Raises Rejection like `close`."""
        if not self._load_outcome.done():
            message = f"model {self.name!r} was unloaded while it was loading"
            self._load_outcome.set_exception(Rejection(500, "ModelUnloadedError", message, self.name, "load"))
        self._enter(ModelState.DRAINING)
        self._pool.wanted = 0
        limit_s = self._context.timeouts.drain
        try:
            await self._dispatcher.drain(limit_s)
        except TimeoutError:
            message = "invocations still run after %g s; aborting them"
            logger.warning(message, limit_s, extra={"model": self.name})
        self.stats.unloads += 1
        await self.close()

    async def close(self) -> None:
        """End it at once, and return when nothing is left of it. Raises Rejection if that takes too long.

        May be called again, and while it runs: an unload can come while a failed load is being cleared away.
        """
        if self.state not in _CLOSE_SENT:
            self._enter(ModelState.UNLOADING)
            self._pool.wanted = 0
            self._dispatcher.close()
            self._fork_server.send(CloseModel(self.key))
        limit_s = self._context.timeouts.close
        try:
            await asyncio.wait_for(self._closed.wait(), limit_s)
        except TimeoutError:
            if self.state is ModelState.UNLOADING:
                self._enter(ModelState.OVERDUE)
            message = f"the processes of model {self.name!r} did not end within {limit_s:g} s"
            raise Rejection(500, "UnloadError", message, self.name, "unload") from None

    async def wait_until_name_is_free(self) -> None:
        await self._name_free.wait()

    # Invocations

    def submit(self, invocation: Invocation) -> None:
        """Have an invocation answered. Raises Rejection if it cannot be taken in."""
        if self.state is not _READY:
            self._check_accepting()
        self._dispatcher.submit(invocation)

    def _check_accepting(self) -> None:
        if self.state is ModelState.BACKING_OFF:
            assert self._backoff_reason is not None
            raise self._dispatcher.count(Rejection.of(self._backoff_reason))
        if self.state is not ModelState.LOADING:
            raise errors.not_loaded(self.name)

    def on_cancelled(self, invocation: Invocation) -> None:
        self._dispatcher.on_cancelled(invocation)

    def expire_overdue(self, now: float) -> None:
        self._dispatcher.expire_overdue(now)

    def reject_all(self) -> None:
        """Reject the load, if it is not done, and all invocations: the container stops."""
        if not self._load_outcome.done():
            self._load_outcome.set_exception(errors.stopping(self.name, "load"))
        self._dispatcher.reject_all()

    # From the workers: ConnectionListener

    def on_loaded(self, connection: WorkerConnection, times: dict[str, float]) -> None:
        for phase, milliseconds in times.items():
            self.stats.add_load_seconds(phase, milliseconds / 1000)
        self._failed_attempts = 0
        if self.state in (ModelState.LOADING, ModelState.BACKING_OFF):
            self._enter(ModelState.READY)
        if not self._load_outcome.done():
            self._load_outcome.set_result(None)
        self._dispatcher.on_idle(connection)

    def on_load_failed(self, connection: WorkerConnection, failure: Failure) -> None:
        self._pool.close(connection)
        self._on_no_worker(failure)

    def on_worker_replaced(self) -> None:
        self.stats.worker_restarts += 1

    def on_connection_lost(self, connection: WorkerConnection) -> None:
        self._fork_server.receive_pending()  # the reason was sent before the connection ended, and may not be read yet
        loaded = connection.loaded
        failure = connection.failure or Failure(
            500, "WorkerDiedError", "the worker's connection ended", self.name, "predict" if loaded else "load"
        )
        if not failure.model:  # the connection does not know it
            failure = replace(failure, model=self.name)
            logger.error("%s", failure.message, extra={"model": self.name, "phase": failure.phase})
        self._pool.remove(connection)
        self._dispatcher.on_connection_lost(connection, failure)
        if not loaded:
            self._on_no_worker(failure)
        elif self.loaded and failure.type == GARBLED:
            self._replace_garbler()
        elif self.loaded:
            self._pool.grow()

    def _replace_garbler(self) -> None:
        """Get another worker, but not more often than once a second: the next one may do the same at once."""
        now = time.monotonic()
        pause_s = max(0.0, self._garbler_replaced + _GARBLER_PAUSE_S - now)
        self._garbler_replaced = now + pause_s
        asyncio.get_running_loop().call_later(pause_s, self._pool.grow)

    def _on_open_failed(self, error: OSError) -> None:
        message = f"cannot open a connection for a worker: {error}"
        logger.warning("%s", message, extra={"model": self.name, "phase": "load"})
        self._on_no_worker(Failure(INSUFFICIENT_STORAGE, "OSError", message, self.name, "load"))

    def _on_no_worker(self, failure: Failure) -> None:
        """Fail the load; or serve on with fewer workers; or, without any, back off."""
        if not self._load_outcome.done():
            self._load_outcome.set_exception(Rejection.of(failure))
        elif not self.loaded:
            return
        elif len(self._pool):
            self._pool.wanted = len(self._pool)
        else:
            self._back_off(failure)

    def _back_off(self, failure: Failure) -> None:
        """Reject invocations with the reason until the next attempt to get a worker succeeds."""
        pause_s = min(_MAX_BACKOFF_S, 2.0**self._failed_attempts)
        self._failed_attempts += 1
        message = f"the model has no worker; next attempt within {pause_s:g} s; last error: {failure.message}"
        self._backoff_reason = Failure(503, failure.type, message, self.name, "load")
        self._enter(ModelState.BACKING_OFF)
        self._dispatcher.reject_waiting(Rejection.of(failure))
        self._pool.wanted = 1
        asyncio.get_running_loop().call_later(pause_s, self._pool.grow)

    # From the fork server

    def on_resize(self, workers: int) -> None:
        if self.loaded and not self._context.config.workers:
            self._pool.resize(workers)

    def on_closed(self) -> None:
        self._enter(ModelState.CLOSED)

    def on_fork_server_lost(self) -> None:
        """Serve on with the workers that have loaded the model; what becomes of the others is unknown."""
        self._pool.close_unloaded()
        if self.state is ModelState.LOADING:
            self._fork_servers_lost += 1
            if self._fork_servers_lost >= _MOST_LOST_FORK_SERVERS:
                message = f"the fork server died {self._fork_servers_lost} times during the load; the log says why"
                self._on_no_worker(Failure(500, "ForkServerDiedError", message, self.name, "load"))

    def on_new_fork_server(self) -> None:
        """Tell a fork server that knows nothing yet all that its predecessor knew."""
        self._announce()
        self._pool.hand_over()
        if self.state in _CLOSE_SENT:
            self._fork_server.send(CloseModel(self.key))
        elif self.state is ModelState.LOADING:
            self._pool.add_soon()
        else:
            self._pool.grow()

    def _announce(self) -> None:
        self._fork_server.send(OpenModel(self.key, self.spec.model, self.spec.settings.response_timeout_s))
