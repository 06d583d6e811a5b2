"""The queue of an endpoint's asynchronous invocations, and how they get to its instances."""

import asyncio
import logging
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass

from polyhost.emulator.async_inference.failures import AsyncFailureError, InstanceGoneError, expiry
from polyhost.emulator.async_inference.invocation import AsyncInvocation
from polyhost.emulator.async_inference.invocation_store import InvocationStore, QueueError
from polyhost.emulator.async_inference.processor import InvocationProcessor, Slot
from polyhost.emulator.async_inference.report import InvocationReport
from polyhost.emulator.errors import EmulatorError
from polyhost.emulator.hosting.async_settings import DEFAULT_CONCURRENCY
from polyhost.emulator.hosting.endpoint import Endpoint, EndpointStatus
from polyhost.emulator.telemetry.recorder import EventKind, Place, Recorder

_POLL_S = 0.05  # nothing announces that an instance is in service again
_EXPIRY_PERIOD_S = 1.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class QueueSnapshot:
    """How many invocations wait and run, the age of the oldest of them in seconds, and an instance's limit."""

    waiting: int
    running: int
    oldest_s: float
    per_instance: int


class EndpointQueue:
    """Gives invocations to instances in the order in which they came, a limited number to each at a time.

    What it has is in the store too, until it is answered. It ends with its endpoint.
    """

    def __init__(
        self, endpoint: Endpoint, store: InvocationStore, processor: InvocationProcessor, recorder: Recorder
    ) -> None:
        self.endpoint = endpoint
        self._store = store
        self._processor = processor
        self._recorder = recorder
        self._waiting: deque[AsyncInvocation] = deque()
        self._running: dict[asyncio.Task[None], tuple[AsyncInvocation, Slot]] = {}
        self._expiring: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._next_expiry = 0.0
        self._dispatcher = asyncio.create_task(self._dispatch())

    def snapshot(self) -> QueueSnapshot:
        """Describe the queue."""
        present = [*self._waiting, *(invocation for invocation, _ in self._running.values())]
        oldest = min((invocation.received for invocation in present), default=None)
        age = max(0.0, time.time() - oldest) if oldest is not None else 0.0
        return QueueSnapshot(len(self._waiting), len(self._running), age, self._concurrency)

    @property
    def ended(self) -> bool:
        """Whether the endpoint is gone, and what was in the queue is answered or forgotten."""
        return self._dispatcher.done() and not (self._running or self._expiring)

    def add(self, invocation: AsyncInvocation) -> None:
        """Append an invocation that is in the store."""
        self._waiting.append(invocation)
        self._changed.set()

    async def close(self) -> None:
        """Break off everything; the store keeps it."""
        tasks = [self._dispatcher, *self._running, *self._expiring]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def _concurrency(self) -> int:
        settings = self.endpoint.async_settings
        return settings.concurrency if settings is not None else DEFAULT_CONCURRENCY

    @property
    def _orphaned(self) -> bool:
        return self.endpoint.status in (EndpointStatus.DELETING, EndpointStatus.DELETED)

    async def _dispatch(self) -> None:
        while not self._orphaned:
            try:
                self._expire()
                while self._waiting and (slot := self._free_slot()) is not None:
                    self._start(self._waiting.popleft(), slot)
            except Exception:  # the queue must go on
                logger.exception("the queue of endpoint %s failed", self.endpoint.name)
            await self._until_changed()
        self._drop()

    async def _until_changed(self) -> None:
        # An endpoint's deletion and its instances' changes are not announced. Up to Python 3.11 `wait_for` would lose a
        # cancellation that comes at the same time as what it waits for.
        with suppress(TimeoutError):
            async with asyncio.timeout(_POLL_S if self._waiting else _EXPIRY_PERIOD_S):
                await self._changed.wait()
        self._changed.clear()

    def _free_slot(self) -> Slot | None:
        """Return the slot of the instance in service that has least to do, if any may have more."""
        busy = Counter(slot.instance for _, slot in self._running.values())
        free = [
            Slot(variant.name, instance)
            for variant in self.endpoint.generations.receiving
            if not variant.spec.shadow
            for instance in variant.instances
            if instance.in_service and busy[instance] < self._concurrency
        ]
        return min(free, key=lambda slot: busy[slot.instance], default=None)

    def _start(self, invocation: AsyncInvocation, slot: Slot) -> None:
        task = asyncio.create_task(self._run(invocation, slot))
        self._running[task] = invocation, slot
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        self._changed.set()

    async def _run(self, invocation: AsyncInvocation, slot: Slot) -> None:
        report = InvocationReport(self._recorder, invocation, slot.variant, slot.instance.id)
        try:
            body = self._store.body(invocation) if invocation.input_location is None else None
            self._store.note_begun(invocation, True)
            await self._processor.process(invocation, body, self.endpoint, slot)
        except InstanceGoneError as error:
            self._return(invocation, error, report)
            return
        except Exception as error:  # whatever it is, the client must hear of it
            logger.exception("asynchronous invocation %s of %s failed", invocation.inference_id, self.endpoint.name)
            failure = AsyncFailureError(str(error) if isinstance(error, EmulatorError) else f"It failed: {error!r}")
            await self._processor.fail(invocation, failure, report)
        self._forget(invocation)

    def _return(self, invocation: AsyncInvocation, error: InstanceGoneError, report: InvocationReport) -> None:
        """Have an invocation wait again, as the first."""
        if error.begun:
            report.log(f"The request is run again: {error}.")
            self._report(f"asynchronous invocation {invocation.inference_id} is run again: {error}")
        with suppress(QueueError):  # is merely run again by the next emulator too
            self._store.note_begun(invocation, False)
        self._waiting.appendleft(invocation)
        if self._orphaned:
            self._drop()

    def _expire(self) -> None:
        """Fail what has waited for too long."""
        now = time.time()
        if now < self._next_expiry:
            return
        self._next_expiry = now + _EXPIRY_PERIOD_S
        expired = [invocation for invocation in self._waiting if invocation.expires <= now]
        if not expired:
            return
        self._waiting = deque(invocation for invocation in self._waiting if invocation.expires > now)
        for invocation in expired:
            report = InvocationReport(self._recorder, invocation, self._variant_name())
            task = asyncio.create_task(self._fail_expired(invocation, report))
            self._expiring.add(task)
            task.add_done_callback(self._expiring.discard)

    def _variant_name(self) -> str:
        """Return the name of the one production variant that there is, or will be."""
        deployment = self.endpoint.deployment
        specs = [variant.spec for variant in self.endpoint.variants] or (deployment.specs if deployment else ())
        return next((spec.name for spec in specs if not spec.shadow), "")

    async def _fail_expired(self, invocation: AsyncInvocation, report: InvocationReport) -> None:
        await self._processor.fail(invocation, expiry(invocation), report)
        self._forget(invocation)

    def _drop(self) -> None:
        """Forget what waits: its endpoint is deleted."""
        dropped, self._waiting = list(self._waiting), deque()
        for invocation in dropped:
            self._forget(invocation)
        if dropped:
            self._report(f"asynchronous invocations that ended with their endpoint, unanswered: {len(dropped)}")

    def _forget(self, invocation: AsyncInvocation) -> None:
        try:
            self._store.remove(invocation)
        except QueueError as error:
            logger.error("%s; the next emulator may run invocation %s again", error, invocation.inference_id)

    def _report(self, message: str) -> None:
        logger.warning("endpoint %s: %s", self.endpoint.name, message)
        self._recorder.event(EventKind.QUEUE, Place(self.endpoint.region, self.endpoint.name), message)
