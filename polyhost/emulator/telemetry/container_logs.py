"""Containers' output in CloudWatch Logs: group /aws/sagemaker/Endpoints/NAME, stream VARIANT/INSTANCE.

The stream of a container that is one of several is VARIANT/INSTANCE/CONTAINER.
"""

import logging
import time
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from polyhost.emulator import aws_clients
from polyhost.emulator.config import ACCOUNT
from polyhost.emulator.telemetry.periodic import run_every
from polyhost.emulator.telemetry.recorder import Place, Recorder

_PERIOD_S = 0.5
_RETENTION = timedelta(hours=1)  # as for metrics: moto keeps everything, forever
_PERIODS_PER_CLEANUP = 120
_GROUP_PREFIX = "/aws/sagemaker/Endpoints/"
_MAX_LINE_CHARS = 16_000
# PutLogEvents takes events of 256 KB, and 10,000 events and 1,048,576 bytes at a time, where each event counts 26 bytes
# more than its message in UTF-8 (CloudWatch Logs API reference). These limits are lower, on the safe side.
_MAX_EVENTS = 1000
_MAX_BATCH_BYTES = 1_000_000
_EVENT_OVERHEAD_BYTES = 26

logger = logging.getLogger(__name__)


class ContainerLogPublisher:
    """Publishes what containers print, in order. `url` is the emulator's own."""

    def __init__(self, recorder: Recorder, url: str) -> None:
        self._url = url
        self._pending: dict[Place, list[dict[str, Any]]] = defaultdict(list)
        self._clients: dict[str, Any] = {}  # by region
        self._known_streams: set[Place] = set()
        self._periods = 0
        recorder.listen(on_log_line=self._on_log_line)

    async def run(self) -> None:
        """Publish until cancelled."""
        await run_every(_PERIOD_S, self._publish)

    def _on_log_line(self, place: Place, line: str) -> None:
        if line:  # PutLogEvents rejects an empty message
            self._pending[place].append({"timestamp": int(time.time() * 1000), "message": line[:_MAX_LINE_CHARS]})

    def _publish(self) -> None:
        pending, self._pending = self._pending, defaultdict(list)
        for place, events in list(pending.items()):  # a copy: the event loop may still be adding the last one
            try:
                self._publish_instance(place, events)
            except Exception:  # must not keep the lines of other instances back
                logger.exception("cannot publish the output of instance %s of %s", place.instance, place.endpoint)
        self._periods += 1
        if self._periods % _PERIODS_PER_CLEANUP == 0:
            for region in self._clients:
                remove_log_events(region, datetime.now(UTC) - _RETENTION)

    def _publish_instance(self, place: Place, events: list[dict[str, Any]]) -> None:
        client = self._client(place)
        group = f"{_GROUP_PREFIX}{place.endpoint}"
        stream = "/".join(filter(None, (place.variant, place.instance, place.container)))
        while events:
            batch, events = _split_batch(events)
            if place in self._known_streams:
                with suppress(client.exceptions.ResourceNotFoundException):  # the user has deleted it
                    client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=batch)
                    continue
            for create in (
                partial(client.create_log_group, logGroupName=group),
                partial(client.create_log_stream, logGroupName=group, logStreamName=stream),
            ):
                with suppress(client.exceptions.ResourceAlreadyExistsException):
                    create()
            self._known_streams.add(place)
            client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=batch)

    def _client(self, place: Place) -> Any:
        if place.region not in self._clients:
            self._clients[place.region] = aws_clients.client("logs", place.region, self._url)
        return self._clients[place.region]


def remove_log_events(region: str, before: datetime) -> None:
    """Remove endpoints' older events from moto, which has no API for it; other groups stay."""
    from moto.backends import get_backend

    limit_ms = before.timestamp() * 1000
    for name, group in list(get_backend("logs")[ACCOUNT][region].groups.items()):
        if name.startswith(_GROUP_PREFIX):
            for stream in list(group.streams.values()):
                stream.events = [event for event in stream.events if event.timestamp >= limit_ms]


def _split_batch(events: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the events that fit into one PutLogEvents, and the rest."""
    size = 0
    for count, event in enumerate(events[:_MAX_EVENTS]):
        size += len(event["message"].encode()) + _EVENT_OVERHEAD_BYTES
        if size > _MAX_BATCH_BYTES:
            return events[:count], events[count:]
    return events[:_MAX_EVENTS], events[_MAX_EVENTS:]
