"""Asynchronous inference as a whole: the queues of all endpoints, and the metrics of their backlogs."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from polyhost.emulator.async_inference.endpoint_queue import EndpointQueue, QueueSnapshot
from polyhost.emulator.async_inference.invocation import AsyncInvocation
from polyhost.emulator.async_inference.invocation_store import InvocationStore, QueueError
from polyhost.emulator.async_inference.processor import InvocationProcessor
from polyhost.emulator.async_inference.report import InvocationReport
from polyhost.emulator.errors import StartError
from polyhost.emulator.hosting.endpoint import Endpoint
from polyhost.emulator.telemetry.recorder import EventKind, Place, Recorder

logger = logging.getLogger(__name__)


class AsyncInference:
    """Takes invocations, and has each endpoint's queue answer its own. `endpoints` returns the endpoints there are.

    `period_s` is between two measurements of the backlogs.
    """

    def __init__(
        self,
        endpoints: Callable[[], Sequence[Endpoint]],
        store: InvocationStore,
        processor: InvocationProcessor,
        recorder: Recorder,
        period_s: float,
    ) -> None:
        self._endpoints = endpoints
        self._store = store
        self._processor = processor
        self._recorder = recorder
        self._period_s = period_s
        self._queues: dict[Endpoint, EndpointQueue] = {}

    def submit(self, endpoint: Endpoint, invocation: AsyncInvocation, body: bytes | None) -> None:
        """Append an invocation to its endpoint's queue; `body` came with the request. Raises QueueError."""
        self._store.add(invocation, body)
        self._queue(endpoint).add(invocation)

    def restore(self) -> None:
        """Take up what an earlier emulator with the same state has not answered. Raises StartError."""
        known = {(endpoint.region, endpoint.name): endpoint for endpoint in self._endpoints()}
        try:
            saved = self._store.saved()
            for invocation, begun in saved:
                endpoint = known.get((invocation.region, invocation.endpoint))
                if endpoint is None:  # it was being deleted
                    self._store.remove(invocation)
                    logger.warning(
                        "asynchronous invocation %s ended with its endpoint %s, unanswered",
                        invocation.inference_id,
                        invocation.endpoint,
                    )
                    continue
                if begun:
                    self._announce_rerun(invocation)
                self._queue(endpoint).add(invocation)
        except QueueError as error:
            raise StartError(
                f"cannot restore the queue: {error}; remove the file, or choose another --state"
            ) from error

    def snapshot(self, endpoint: Endpoint) -> QueueSnapshot | None:
        """Describe an endpoint's queue; None if it has none and is not asynchronous."""
        queue = self._queues.get(endpoint)
        if queue is not None:
            return queue.snapshot()
        settings = endpoint.async_settings
        return QueueSnapshot(0, 0, 0.0, settings.concurrency) if settings is not None else None

    async def run(self) -> None:
        """Measure the backlogs until cancelled; failures are logged."""
        while True:
            try:
                self._queues = {endpoint: queue for endpoint, queue in self._queues.items() if not queue.ended}
                for endpoint in self._endpoints():
                    self._measure(endpoint)
            except Exception:
                logger.exception("cannot measure the backlogs")
            await asyncio.sleep(self._period_s)

    async def close(self) -> None:
        """Break off everything, before the endpoints are stopped."""
        queues, self._queues = self._queues, {}
        left = sum(queue.snapshot().waiting + queue.snapshot().running for queue in queues.values())
        await asyncio.gather(*(queue.close() for queue in queues.values()))
        if left and not self._store.survives:
            logger.warning(
                "asynchronous invocations that end unanswered with the emulator, which has no --state: %d", left
            )

    def _queue(self, endpoint: Endpoint) -> EndpointQueue:
        if endpoint not in self._queues:
            self._queues[endpoint] = EndpointQueue(endpoint, self._store, self._processor, self._recorder)
        return self._queues[endpoint]

    def _announce_rerun(self, invocation: AsyncInvocation) -> None:
        text = "it was in progress when the emulator ended, and is run again"
        place = Place(invocation.region, invocation.endpoint)
        self._recorder.event(EventKind.QUEUE, place, f"asynchronous invocation {invocation.inference_id}: {text}")
        logger.warning("asynchronous invocation %s of %s: %s", invocation.inference_id, invocation.endpoint, text)
        InvocationReport(self._recorder, invocation, "").log(f"The request is run again: {text}.")

    def _measure(self, endpoint: Endpoint) -> None:
        queue = self.snapshot(endpoint)
        if queue is None or not endpoint.serving:
            return
        place = Place(endpoint.region, endpoint.name)
        backlog = queue.waiting + queue.running
        instances = sum(variant.fleet.instance_count for variant in endpoint.generations.variants)
        measure = self._recorder.measure
        measure("ApproximateBacklogSize", backlog, "Count", place)
        if instances:
            measure("ApproximateBacklogSizePerInstance", backlog / instances, "Count", place)
        measure("HasBacklogWithoutCapacity", float(backlog > 0 and not instances), "Count", place)
        measure("ApproximateAgeOfOldestRequest", queue.oldest_s, "Seconds", place)
