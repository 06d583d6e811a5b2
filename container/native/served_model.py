"""One model as the front end serves it: its workers' connections, and the calls that wait for them."""

import asyncio
import contextlib
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from polyhost.container.config import Config
from polyhost.container.control_protocol import AddSurvivor, AddWorker, CloseModel, ModelRef, OpenModel
from polyhost.container.errors import INSUFFICIENT_STORAGE, Failure
from polyhost.container.native import errors
from polyhost.container.native.decoder import Chunk, WorkerResponse
from polyhost.container.native.errors import Refusal
from polyhost.container.native.fork_server_client import ForkServerClient
from polyhost.container.native.invocation import Invocation
from polyhost.container.native.serving_options import ServingSettings
from polyhost.container.native.stats import ModelStats
from polyhost.container.native.worker_connection import ConnectionOwner, WorkerConnection
from polyhost.container.worker.protocol import LoadCommand

_DRAIN_S = 330.0  # SageMaker waits 360 s for an unload (Triton's SageMaker server keeps to 350)
_CLOSE_S = 20.0
_LOAD_GRACE_S = 10.0
_GRACE_S = 2.0  # for the fork server to answer first, which knows why
_MAX_REST_S = 60.0
MAX_WAITING_BYTES = 1 << 30
_BURST_S, _LONGEST_BURST = 0.002, 16
_MEMORY = 0.9  # how much of the usual time an answer is made of those before it

logger = logging.getLogger("polyhost.native")


class ModelState(Enum):
    LOADING = "loading"
    READY = "ready"
    UNLOADING = "unloading"


@dataclass(frozen=True)
class ModelSpec:
    """What the platform asks for. `name` is an opaque key; the archive is unpacked in `directory`."""

    name: str
    url: str
    directory: Path
    handler: str
    settings: ServingSettings


class PendingBytes:
    """The bytes of all calls that wait, of whichever model."""

    def __init__(self) -> None:
        self.held = 0


class InvocationQueue:
    """The calls of one model that wait, in their order."""

    def __init__(self, waiting: PendingBytes) -> None:
        self._calls: deque[Invocation] = deque()
        self._waiting = waiting

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def first(self) -> Invocation:
        return self._calls[0]

    @property
    def full(self) -> bool:
        """Of all models together; one call is always let in, however large."""
        return self._waiting.held >= MAX_WAITING_BYTES

    def put(self, call: Invocation) -> None:
        self._waiting.held += len(call.command)
        self._calls.append(call)

    def put_back(self, call: Invocation) -> None:
        self._waiting.held += len(call.command)
        self._calls.appendleft(call)

    def take(self) -> Invocation:
        call = self._calls.popleft()
        self._waiting.held -= len(call.command)
        return call

    def remove(self, call: Invocation) -> None:
        """Nothing happens where it does not wait."""
        with contextlib.suppress(ValueError):
            self._calls.remove(call)
            self._waiting.held -= len(call.command)


class WorkerConnections:
    """All connections by number, as the fork server calls them."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._links: dict[int, WorkerConnection] = {}

    def new(self, owner: ConnectionOwner) -> WorkerConnection:
        link = WorkerConnection(next(self._numbers), owner)
        self._links[link.number] = link
        return link

    def get(self, number: int) -> WorkerConnection | None:
        return self._links.get(number)

    def forget(self, link: WorkerConnection) -> None:
        self._links.pop(link.number, None)


class ServedModel:
    """One load of one model. `links` counts connections; each has one worker at a time."""

    def __init__(
        self,
        key: int,
        spec: ModelSpec,
        config: Config,
        forks: ForkServerClient,
        stats: ModelStats,
        book: WorkerConnections,
        waiting: PendingBytes,
    ) -> None:
        self.key = key
        self.spec = spec
        self.state = ModelState.LOADING
        self.stats = stats
        self.links: dict[int, WorkerConnection] = {}
        self.queue = InvocationQueue(waiting)
        self.closed = asyncio.Event()  # nothing is left of it
        self.gone = asyncio.Event()  # its name is free
        self._config = config
        self._forks = forks
        self._book = book
        self._idle: list[WorkerConnection] = []
        self._wanted = config.workers or (1 if config.multi_model else config.max_workers)
        self._loaded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._drained = asyncio.Event()
        self._close_sent = False
        self._batch_timer: asyncio.TimerHandle | None = None
        self._usual_s = _BURST_S  # what an answer takes a worker
        self._streams = False  # whether it has answered in pieces
        self._failed_links = 0  # in a row, of a model that was loaded
        self._rests_because: Failure | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def url(self) -> str:
        """As it was asked for."""
        return self.spec.url

    @property
    def running(self) -> int:
        return sum(len(link.calls) for link in self.links.values())

    @property
    def _load_limit_s(self) -> float:
        """The fork server's own limit comes before it, and knows more."""
        return self._config.load_timeout_s + _LOAD_GRACE_S

    @property
    def _awaited(self) -> bool:
        """Whether a worker has a call that somebody waits for."""
        return any(not call.cancelled for link in self.links.values() for call in link.calls)

    # Its life

    async def load(self) -> None:
        """Raises Refusal. While no fork server is there, the load waits for the next one."""
        start = time.monotonic()
        self._announce()
        await self._add_link()
        try:
            await asyncio.wait_for(self._loaded, self._load_limit_s)
        except TimeoutError:
            self.stats.load_failures += 1
            raise errors.load_too_late(self.name, self._load_limit_s) from None
        except BaseException:
            self.stats.load_failures += 1
            raise
        if self.state is ModelState.LOADING:  # an unload may have come in between
            self.state = ModelState.READY
        self.stats.loads += 1
        self.stats.add_load_seconds("total", time.monotonic() - start)
        self._grow()
        self._serve_queue()

    async def unload(self) -> None:
        """Returns when no process is left of it. Running calls are answered first; those that wait are refused."""
        if self.state is ModelState.LOADING and not self._loaded.done():
            message = f"the model {self.name!r} was unloaded while it was loading"
            self._loaded.set_exception(Refusal(500, "ModelUnloadedError", message, self.name, "load"))
        self.state = ModelState.UNLOADING
        self._refuse_queue(lambda: errors.unloading(self.name))
        if self._awaited:
            try:
                await asyncio.wait_for(self._drained.wait(), _DRAIN_S)
            except TimeoutError:
                logger.warning("calls still run after %g s; they are cut off", _DRAIN_S, extra={"model": self.name})
        self.stats.unloads += 1
        await self.close()

    async def close(self) -> None:
        """Raises Refusal where its processes do not end."""
        self.state = ModelState.UNLOADING
        for link in list(self.links.values()):
            cut_off, link.calls = link.calls, []
            self._drop(link)
            for call in cut_off:
                self._refuse(call, errors.unloading(self.name))
        self._refuse_queue(lambda: errors.not_loaded(self.name))
        self._close_sent = True
        self._forks.send(CloseModel(self.key))
        try:
            await asyncio.wait_for(self.closed.wait(), _CLOSE_S)
        except TimeoutError:
            message = f"the processes of {self.name!r} have not ended within {_CLOSE_S:g} s"
            raise Refusal(500, "UnloadError", message, self.name, "unload") from None

    # Calls

    def submit(self, call: Invocation) -> None:
        """Raises Refusal."""
        if self.state is ModelState.UNLOADING:
            raise errors.not_loaded(self.name)
        if self._rests_because is not None:
            raise self._counted(Refusal.of(self._rests_because))
        if self._idle and not self.queue and self.spec.settings.batch_size == 1:
            self.stats.batch_sizes.add(1)
            self._idle.pop().send([call])
            return
        if len(self.queue) >= self.spec.settings.queue_size:
            raise self._counted(errors.queue_full(self.name, len(self.queue)))
        if self.queue.full:
            raise self._counted(errors.too_much_waits(self.name, MAX_WAITING_BYTES))
        self.queue.put(call)
        self._serve_queue()

    def on_cancelled(self, call: Invocation) -> None:
        if not call.sent:
            self.queue.remove(call)
        self._check_drained()

    def _check_drained(self) -> None:
        if self.state is ModelState.UNLOADING and not self._awaited:
            self._drained.set()

    def end_what_is_late(self, now: float) -> None:
        limit_s = self.spec.settings.response_timeout_s
        while self.queue and now - self.queue.first.arrived > limit_s:
            call = self.queue.take()
            self._refuse(call, errors.too_late(self.name, limit_s, "queue"))
        for link in list(self.links.values()):
            for call in link.calls:
                if not call.streaming and now - call.arrived > limit_s + _GRACE_S and not call.cancelled:
                    self._refuse(call, errors.too_late(self.name, limit_s, "predict"))
                    call.cancelled = True
                    self._check_drained()
            if link.calls and now - link.turn > self._patience_s(link.calls[0]):
                link.give_up(errors.too_late(self.name, limit_s, "predict").failure)

    def _patience_s(self, call: Invocation) -> float:
        """A worker that took a dead one's place loads the model before it answers."""
        limit_s = self.spec.settings.response_timeout_s + self._config.load_timeout_s + 4 * _GRACE_S
        return 600.0 if call.streaming else limit_s

    def _serve_queue(self) -> None:
        settings = self.spec.settings
        while self.queue and self._idle and self.state is not ModelState.UNLOADING:
            if len(self.queue) < settings.batch_size and settings.batch_delay_ms:
                due = self.queue.first.arrived + settings.batch_delay_ms / 1000
                if due > (now := time.monotonic()):
                    self._serve_queue_after(due - now)
                    return
            each = settings.batch_size == 1
            count = min(self._burst() if each else settings.batch_size, len(self.queue))
            calls = [self.queue.take() for _ in range(count)]
            self.stats.batch_sizes.add(1 if each else count)
            self._idle.pop().send(calls, each and count > 1)

    def _burst(self) -> int:
        """How many calls go to a worker at once, to be answered one by one: so many as it has done in a moment.

        Each hand-over costs both sides a system call and often a change of process, more than a small model's answer.
        """
        if self._streams:  # who reads one slowly would hold up the others
            return 1
        share = -(-len(self.queue) // max(1, len(self._idle)))
        return max(1, min(share, int(_BURST_S / max(self._usual_s, 1e-6)), _LONGEST_BURST))

    def _serve_queue_after(self, seconds: float) -> None:
        def serve() -> None:
            self._batch_timer = None
            self._serve_queue()

        if self._batch_timer is None:
            self._batch_timer = asyncio.get_running_loop().call_later(seconds, serve)

    def _refuse_queue(self, refusal: Callable[[], Refusal]) -> None:
        while self.queue:
            self._refuse(self.queue.take(), refusal())

    def refuse_calls(self) -> None:
        self._refuse_queue(lambda: errors.stopping(self.name))
        for link in self.links.values():
            for call in link.calls:
                self._refuse(call, errors.stopping(self.name))
                call.cancelled = True

    def _refuse(self, call: Invocation, refusal: Refusal) -> None:
        self._counted(refusal)
        if not call.cancelled:
            call.caller.on_rejected(call, refusal)

    def _counted(self, refusal: Refusal) -> Refusal:
        self.stats.errors[refusal.failure.type] += 1
        self.stats.answers[refusal.failure.code] += 1
        return refusal

    # Links: ConnectionOwner

    def on_loaded(self, link: WorkerConnection, times: dict[str, float]) -> None:
        self._failed_links = 0
        self._rests_because = None
        for phase, milliseconds in times.items():
            self.stats.add_load_seconds(phase, milliseconds / 1000)
        if not self._loaded.done():
            self._loaded.set_result(None)
        self.on_idle(link)

    def on_load_failed(self, link: WorkerConnection, failure: Failure) -> None:
        self._drop(link)
        self._could_not_load(failure)

    def on_response(self, link: WorkerConnection, call: Invocation, answer: WorkerResponse) -> None:
        now = time.monotonic()
        begun, link.turn = link.turn, now
        if answer.more:
            call.streaming = self._streams = True
        else:
            self._usual_s = _MEMORY * self._usual_s + (1 - _MEMORY) * (now - begun)
        self.stats.answers[answer.status] += 1
        self.stats.queue_seconds.add(begun - call.arrived)
        self.stats.predict_seconds.add(now - begun)
        if not call.cancelled:
            call.caller.on_response(call, answer)

    def on_chunk(self, link: WorkerConnection, call: Invocation, piece: Chunk) -> None:
        if piece.data is None:
            link.turn = time.monotonic()  # the next one's
        if not call.cancelled:
            call.caller.on_chunk(call, piece)

    def on_unbegun(self, calls: Sequence[Invocation]) -> None:
        for call in reversed(calls):
            call.sent, call.connection = 0.0, None
            if not call.cancelled:
                self.queue.put_back(call)
        if self.state is ModelState.UNLOADING:
            self._refuse_queue(lambda: errors.unloading(self.name))

    def on_idle(self, link: WorkerConnection) -> None:
        if self.state is ModelState.UNLOADING:
            self._check_drained()
        elif len(self.links) > self._wanted and link.loaded:
            self._drop(link)
        else:
            self._idle.append(link)
            if self.queue:
                self._serve_queue()

    def on_lost(self, link: WorkerConnection) -> None:
        self._forks.drain()
        failure = link.lost_because or Failure(
            500, "WorkerDiedError", "the worker's connection ended", self.name, "predict" if link.loaded else "load"
        )
        self._remove(link)
        for call in link.calls[: self.spec.settings.batch_size]:
            self._refuse(call, Refusal.of(failure))
        self.on_unbegun(link.calls[self.spec.settings.batch_size :])
        link.calls = []
        if self.state is ModelState.UNLOADING:
            self.on_idle(link)
        elif not link.loaded:
            self._could_not_load(failure)
        else:
            self._grow()

    def on_replaced(self, link: WorkerConnection) -> None:
        self.stats.worker_restarts += 1

    def _could_not_load(self, failure: Failure) -> None:
        if not self._loaded.done():
            self._loaded.set_exception(Refusal.of(failure))
        elif self.links:
            self._wanted = len(self.links)
        elif self.state is ModelState.READY:
            self._rest(failure)

    def _rest(self, failure: Failure) -> None:
        """No worker can be had now: whoever calls is told why, until the next try."""
        rest_s = min(_MAX_REST_S, 2.0**self._failed_links)
        self._failed_links += 1
        message = f"the model has no worker, and is tried again within {rest_s:g} s; at last: {failure.message}"
        self._rests_because = Failure(503, failure.type, message, self.name, "load")
        self._refuse_queue(lambda: Refusal.of(failure))
        self._wanted = 1
        asyncio.get_running_loop().call_later(rest_s, self._grow)

    # How many

    def resize(self, workers: int) -> None:
        if self.state is not ModelState.READY or self._config.workers:
            return
        self._wanted = workers
        while len(self.links) > workers and self._idle:
            self._drop(self._idle.pop(0))
        self._grow()

    def _grow(self) -> None:
        if self.state is ModelState.READY:
            for _ in range(self._wanted - len(self.links)):
                task = asyncio.get_running_loop().create_task(self._add_link())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _add_link(self) -> None:
        if self.state is ModelState.UNLOADING:
            return
        link = self._book.new(self)
        self.links[link.number] = link
        try:
            await link.open()
            if link.closing:  # meanwhile
                return
            self._forks.send(AddWorker(self.key, link.number), link.workers_end.fileno())
        except OSError as error:  # no descriptor is left
            self._drop(link)
            message = f"no connection to a worker can be made: {error}"
            logger.warning("%s", message, extra={"model": self.name, "phase": "load"})
            self._could_not_load(Failure(INSUFFICIENT_STORAGE, "OSError", message, self.name, "load"))
            return
        link.load(
            LoadCommand(self.name, str(self.spec.directory), self.spec.settings.batch_size, self.spec.handler, None, "")
        )

    def _drop(self, link: WorkerConnection) -> None:
        self._remove(link)
        link.close()

    def _remove(self, link: WorkerConnection) -> None:
        self.links.pop(link.number, None)
        self._book.forget(link)
        if link in self._idle:
            self._idle.remove(link)

    # The fork server

    def on_fork_server_lost(self) -> None:
        """Workers that have loaded serve on. Of the others nobody knows what becomes."""
        for link in [link for link in self.links.values() if not link.loaded]:
            self._drop(link)

    async def introduce(self) -> None:
        """Tells a fork server that knows nothing yet."""
        self._announce()
        for link in list(self.links.values()):
            if not link.loaded:  # begun while there was no fork server
                self._drop(link)
            elif link.pid is not None and link.page is not None:
                message = AddSurvivor(self.key, link.number, link.pid)
                try:
                    self._forks.send(message, link.workers_end.fileno(), link.page)
                except OSError as error:  # no descriptor is left
                    link.give_up(Failure(503, "OSError", f"nobody watches the worker: {error}", self.name, "predict"))
            else:
                link.give_up(Failure(503, "WorkerDiedError", "the fork server ended", self.name, "predict"))
        if self._close_sent:
            self._forks.send(CloseModel(self.key))
        elif self.state is ModelState.LOADING:
            await self._add_link()
        else:
            self._grow()

    def _announce(self) -> None:
        spec = self.spec
        self._forks.send(
            OpenModel(
                self.key, ModelRef(self.name, str(spec.directory), spec.handler), spec.settings.response_timeout_s
            )
        )
