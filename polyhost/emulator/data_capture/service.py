"""Data capture: which invocations are captured, and the latest captures for display."""

import asyncio
import logging
import random
from collections import defaultdict, deque
from dataclasses import replace

from polyhost.emulator.data_capture.capture import CapturedInvocation
from polyhost.emulator.data_capture.capture_stream import CaptureStream
from polyhost.emulator.data_capture.open_capture import OpenCapture
from polyhost.emulator.hosting.capture_settings import CaptureSettings
from polyhost.emulator.hosting.interfaces import InvocationRequest
from polyhost.emulator.hosting.shadow_copies import MessageLimit
from polyhost.emulator.object_storage import ObjectStorage
from polyhost.emulator.telemetry.recorder import CAPTURES_DROPPED, EventKind, Place, Recorder
from polyhost.emulator.time_scale import TimeScale

# AWS does not say how often it writes captures. A developer should not have to wait for minutes.
_LONGEST_PERIOD_S, _PERIOD_S = 5.0, 60.0
_LAST_FLUSH_S = 8.0  # at the emulator's end, which takes 15 s at most
_KEPT, _KEPT_BYTES = 50, 64 << 10  # of one endpoint, and of one body

logger = logging.getLogger(__name__)


class DataCapture:
    """Captures invocations without delaying them: encoding and writing follow in the background.

    What waits to be written is limited for each variant; what does not fit is dropped, counted and reported.
    """

    def __init__(self, storage: ObjectStorage, recorder: Recorder, scale: TimeScale) -> None:
        self._storage = storage
        self._recorder = recorder
        self._period_s = min(_LONGEST_PERIOD_S, scale.passing(_PERIOD_S))
        self._streams: dict[tuple[Place, CaptureSettings], CaptureStream] = {}
        self._recent: dict[tuple[str, str], deque[CapturedInvocation]] = defaultdict(lambda: deque(maxlen=_KEPT))
        self._limits: dict[tuple[Place, str], MessageLimit] = defaultdict(MessageLimit)
        recorder.listen(on_removed=self._on_removed)

    def begin(self, place: Place, settings: CaptureSettings | None, request: InvocationRequest) -> OpenCapture | None:
        """Return a capture of an invocation if it is in the sample."""
        if settings is None or not settings.enabled:
            return None
        if random.random() * 100 >= settings.sampling_percent:  # noqa: S311 - no secret
            return None
        return OpenCapture(place, settings, request, self._add, self._drop)

    def recent(self, region: str, endpoint: str) -> list[CapturedInvocation]:
        """Return the latest captures of an endpoint, the newest first: 50 at most, bodies shortened to 64 KiB.

        Call it in the event loop, e.g. to show requests with their responses. Without data capture the list is empty.
        """
        return list(reversed(self._recent.get((region, endpoint), ())))

    async def flush(self, region: str, endpoint: str) -> None:
        """Write what is captured of an endpoint now."""
        streams = [stream for (place, _), stream in self._streams.items() if _is_of(place, region, endpoint)]
        await asyncio.gather(*(stream.flush() for stream in streams))

    async def close(self) -> None:
        """Write everything that is left."""
        tasks = [stream.task for stream in self._streams.values()]
        for stream in self._streams.values():
            stream.end()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_LAST_FLUSH_S)
            for task in late:
                task.cancel()

    def _add(self, settings: CaptureSettings, capture: CapturedInvocation) -> None:
        place = capture.place
        kept = replace(
            capture,
            request=capture.request and capture.request.shortened(_KEPT_BYTES),
            response=capture.response and capture.response.shortened(_KEPT_BYTES),
        )
        self._recent[place.region, place.endpoint].append(kept)
        if not self._stream(place, settings).add(capture):
            self._drop(place, "more than can be written in time")

    def _drop(self, place: Place, reason: str) -> None:
        self._recorder.measure(CAPTURES_DROPPED, 1, "None", place)
        self._report(place, f"dropped a capture: {reason}", "drop")

    def _stream(self, place: Place, settings: CaptureSettings) -> CaptureStream:
        key = place, settings
        if (stream := self._streams.get(key)) is None:
            stream = self._streams[key] = CaptureStream(
                self._storage,
                settings,
                self._period_s,
                lambda reason: self._report(place, f"cannot write captured data, and tries again: {reason}", "write"),
                lambda: self._forget(key),
            )
        return stream

    def _forget(self, key: tuple[Place, CaptureSettings]) -> None:
        self._streams.pop(key, None)

    def _report(self, place: Place, text: str, topic: str) -> None:
        limit = self._limits[place, topic]
        if limit.due():
            message = f"data capture of variant {place.variant} {text}{limit.describe()}"
            logger.warning("endpoint %s: %s", place.endpoint, message)
            self._recorder.event(EventKind.FAILED, place, message)

    def _on_removed(self, removed: Place) -> None:
        if removed.instance or removed.variant:
            return
        self._recent.pop((removed.region, removed.endpoint), None)
        for place, topic in list(self._limits):
            if _is_of(place, removed.region, removed.endpoint):
                del self._limits[place, topic]
        for (place, _), stream in self._streams.items():
            if _is_of(place, removed.region, removed.endpoint):
                stream.end()


def _is_of(place: Place, region: str, endpoint: str) -> bool:
    return (place.region, place.endpoint) == (region, endpoint)
