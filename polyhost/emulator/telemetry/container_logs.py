"""Containers' output in CloudWatch Logs: group /aws/sagemaker/Endpoints/NAME, stream VARIANT/INSTANCE.

Of a transform job: group /aws/sagemaker/TransformJobs, stream JOB/INSTANCE-TIME, with the time of its first line in
seconds since 1970 (developer guide, logging-cloudwatch). The stream of a container that is one of several, and what the
job itself reports, have another part at the end.
"""

import logging
from collections import defaultdict

from polyhost.emulator.telemetry.log_streams import LogEvent, LogStream, LogStreams, log_event
from polyhost.emulator.telemetry.periodic import run_every
from polyhost.emulator.telemetry.recorder import Place, PlaceKind, Recorder

_PERIOD_S = 0.5
_GROUP_PREFIX = "/aws/sagemaker/"
DATA_LOG = "data-log"  # the last part of a transform job's own stream

logger = logging.getLogger(__name__)


class ContainerLogPublisher:
    """Publishes what containers print, in order. `url` is the emulator's own."""

    def __init__(self, recorder: Recorder, url: str) -> None:
        self._streams = LogStreams(url)
        self._pending: dict[Place, list[LogEvent]] = defaultdict(list)
        self._since: dict[str, int] = {}  # the first line of a transform job's instance
        recorder.listen(on_log_line=self._on_log_line)

    async def run(self) -> None:
        """Publish until cancelled."""
        await run_every(_PERIOD_S, self._publish)

    def _on_log_line(self, place: Place, line: str) -> None:
        if line:  # PutLogEvents rejects an empty message
            self._pending[place].append(log_event(line))

    def _publish(self) -> None:
        pending, self._pending = self._pending, defaultdict(list)
        for place, events in list(pending.items()):  # a copy: the event loop may still be adding the last one
            try:
                group, name = self._address(place, events[0]["timestamp"] // 1000)
                self._streams.put(LogStream(place.region, group, name), events)
            except Exception:  # must not keep the lines of other instances back
                logger.exception("cannot publish the output of instance %s of %s", place.instance, place.endpoint)

    def _address(self, place: Place, since: int) -> tuple[str, str]:
        """Return the group and the stream."""
        if place.kind is PlaceKind.ENDPOINT:
            parts = (place.variant, place.instance, place.container)
            return f"{_GROUP_PREFIX}{place.kind}/{place.endpoint}", "/".join(filter(None, parts))
        since = self._since.setdefault(place.instance, since)
        parts = (place.endpoint, f"{place.instance}-{since}", place.container)
        return f"{_GROUP_PREFIX}{place.kind}", "/".join(filter(None, parts))
