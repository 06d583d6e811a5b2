"""What an endpoint's metrics and logs say of one asynchronous invocation (developer guide, async-inference-monitor)."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from polyhost.emulator.async_inference.invocation import AsyncInvocation
from polyhost.emulator.hosting.interfaces import ContainerResponse
from polyhost.emulator.telemetry.recorder import EventKind, Place, Recorder

_LOG = "data-log"  # the last part of the log stream's name


class InvocationReport:
    """Records what becomes of an invocation, at a variant and perhaps one of its instances."""

    def __init__(self, recorder: Recorder, invocation: AsyncInvocation, variant: str, instance: str = "") -> None:
        self._recorder = recorder
        self._invocation = invocation
        self._variant = Place(invocation.region, invocation.endpoint, variant)
        self._instance = Place(invocation.region, invocation.endpoint, variant, instance)
        self._log_place = Place(invocation.region, invocation.endpoint, variant, instance, _LOG)
        self._begun = time.time()
        self._times: dict[str, int] = {}

    def count(self, metric: str) -> None:
        """Count one occurrence."""
        self._recorder.measure(metric, 1, "Count", self._variant)

    @asynccontextmanager
    async def timed(self, metric: str) -> AsyncIterator[None]:
        """Measure how long the block takes, unless it fails."""
        start = time.perf_counter()
        yield
        self._measure(metric, int((time.perf_counter() - start) * 1e6), "Microseconds")

    def note_response(self, response: ContainerResponse) -> None:
        """Measure what the container took, and whether its status is an error."""
        self._measure("ModelLatency", response.container_us, "Microseconds")
        for metric, is_error in (
            ("Invocation4XXErrors", 400 <= response.status < 500),
            ("Invocation5XXErrors", response.status >= 500),
        ):
            self._recorder.measure(metric, float(is_error), "None", self._variant)

    def finish(self) -> None:
        """Record the end of the invocation, whichever it was; notifications are sent by now."""
        received = self._invocation.received
        self._measure("TimeInBacklog", int((self._begun - received) * 1e3), "Milliseconds")
        self._measure("TotalProcessingTime", int((time.time() - received) * 1e3), "Milliseconds")
        self.count("InvocationsProcessed")

    def log_success(self) -> None:
        """Write the line of a successful invocation; after `finish`."""
        times = ", ".join(f"{metric}: {value}" for metric, value in self._times.items())
        self.log(f"Inference request succeeded. {times}")

    def log(self, text: str) -> None:
        """Write a line into the instance's data-log."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
        self._recorder.log_line(self._log_place, f"{now}:[sagemaker logs] [{self._invocation.inference_id}] {text}")

    def log_failure(self, text: str) -> None:
        """Write a failure into the data-log, and among the dashboard's events."""
        self.log(text)
        message = f"asynchronous invocation {self._invocation.inference_id}: {text}"
        self._recorder.event(EventKind.FAILED, self._instance, message)

    def _measure(self, metric: str, value: int, unit: str) -> None:
        self._recorder.measure(metric, value, unit, self._variant)
        self._times[f"{metric} in {unit.lower()}"] = value
