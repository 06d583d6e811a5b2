"""Streams of the emulator's own CloudWatch Logs, made when something is written to them."""

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import Any, NamedTuple

from polyhost.emulator import aws_clients
from polyhost.emulator.config import ACCOUNT

_RETENTION = timedelta(hours=1)  # as for metrics: moto keeps everything, forever
_CLEANUP_PERIOD_S = 60.0
# The groups that the emulator itself writes to.
_GROUP_PREFIXES = ("/aws/sagemaker/", "/aws/lambda/")
_MAX_LINE_CHARS = 16_000
# PutLogEvents takes events of 256 KB, and 10,000 events and 1,048,576 bytes at a time, where each event counts 26 bytes
# more than its message in UTF-8 (CloudWatch Logs API reference). These limits are lower, on the safe side.
_MAX_EVENTS = 1000
_MAX_BATCH_BYTES = 1_000_000
_EVENT_OVERHEAD_BYTES = 26

LogEvent = dict[str, Any]


class LogStream(NamedTuple):
    region: str
    group: str
    name: str


def log_event(line: str) -> LogEvent:
    """Return the event of a line that was logged now."""
    return {"timestamp": int(time.time() * 1000), "message": line[:_MAX_LINE_CHARS]}


class LogStreams:
    """Writes to streams of the emulator at `url`. One thread at a time may call it."""

    def __init__(self, url: str) -> None:
        self._client = lru_cache(None)(lambda region: aws_clients.client("logs", region, url))
        self._known: set[LogStream] = set()
        self._cleaned = time.monotonic()

    def put(self, stream: LogStream, events: list[LogEvent]) -> None:
        """Append events; the group and the stream are made if they are missing."""
        client = self._client(stream.region)
        while events:
            batch, events = split_batch(events)
            put = partial(client.put_log_events, logGroupName=stream.group, logStreamName=stream.name, logEvents=batch)
            if stream in self._known:
                with suppress(client.exceptions.ResourceNotFoundException):  # the user has deleted it
                    put()
                    continue
            for create in (
                partial(client.create_log_group, logGroupName=stream.group),
                partial(client.create_log_stream, logGroupName=stream.group, logStreamName=stream.name),
            ):
                with suppress(client.exceptions.ResourceAlreadyExistsException):
                    create()
            self._known.add(stream)
            put()
        if time.monotonic() - self._cleaned > _CLEANUP_PERIOD_S:
            self._cleaned = time.monotonic()
            for region in {known.region for known in self._known}:
                remove_log_events(region, datetime.now(UTC) - _RETENTION)


def remove_log_events(region: str, before: datetime) -> None:
    """Remove older events of the emulator's own groups from moto, which has no API for it; other groups stay."""
    from moto.backends import get_backend

    limit_ms = before.timestamp() * 1000
    for name, group in list(get_backend("logs")[ACCOUNT][region].groups.items()):
        if name.startswith(_GROUP_PREFIXES):
            for stream in list(group.streams.values()):
                stream.events = [event for event in stream.events if event.timestamp >= limit_ms]


def split_batch(events: list[LogEvent]) -> tuple[list[LogEvent], list[LogEvent]]:
    """Return the events that fit into one PutLogEvents, and the rest."""
    size = 0
    for count, event in enumerate(events[:_MAX_EVENTS]):
        size += len(event["message"].encode()) + _EVENT_OVERHEAD_BYTES
        if size > _MAX_BATCH_BYTES:
            return events[:count], events[count:]
    return events[:_MAX_EVENTS], events[_MAX_EVENTS:]
