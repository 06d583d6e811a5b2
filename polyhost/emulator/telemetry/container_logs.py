"""Containers' output in CloudWatch Logs: group /aws/sagemaker/Endpoints/NAME, stream VARIANT/INSTANCE."""

import logging
import time
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from polyhost.emulator import aws
from polyhost.emulator.config import ACCOUNT
from polyhost.emulator.telemetry.periodic import every
from polyhost.emulator.telemetry.recorder import Place, Recorder

SEND_EVERY_S = 0.5
KEPT = timedelta(hours=1)  # as CloudWatch's values are: moto keeps everything, for ever
CLEARED_EVERY = 120  # sendings
_GROUPS = "/aws/sagemaker/Endpoints/"
_MOST_EVENTS = 1000
_LONGEST_LINE = 16_000  # PutLogEvents takes events of 256 KB, a megabyte at a time

logger = logging.getLogger("polyhost.emulator")


class ContainerLogs:
    """Sends what containers print, in order."""

    def __init__(self, recorder: Recorder, url: str) -> None:
        self._url = url
        self._waiting: dict[Place, list[dict[str, Any]]] = defaultdict(list)
        self._clients: dict[str, Any] = {}
        self._streams: set[Place] = set()
        self._sendings = 0
        recorder.listen(on_log_line=self._take)

    async def run(self) -> None:
        await every(SEND_EVERY_S, self._send)

    def _take(self, place: Place, line: str) -> None:
        if line:  # PutLogEvents takes no empty message
            self._waiting[place].append({"timestamp": int(time.time() * 1000), "message": line[:_LONGEST_LINE]})

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, defaultdict(list)
        for place, events in list(waiting.items()):  # the loop may still be adding to the last one
            try:
                self._send_of(place, events)
            except Exception:  # other instances' lines are sent all the same
                logger.exception("the output of %s in %s could not be sent", place.instance, place.endpoint)
        self._sendings += 1
        if self._sendings % CLEARED_EVERY == 0:
            for region in self._clients:
                clear(region, datetime.now(UTC) - KEPT)

    def _send_of(self, place: Place, events: list[dict[str, Any]]) -> None:
        client = self._client(place)
        group, stream = f"{_GROUPS}{place.endpoint}", f"{place.variant}/{place.instance}"
        while events:
            some, events = _cut(events)
            if place in self._streams:
                with suppress(client.exceptions.ResourceNotFoundException):  # the user has deleted it meanwhile
                    client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=some)
                    continue
            for create in (
                partial(client.create_log_group, logGroupName=group),
                partial(client.create_log_stream, logGroupName=group, logStreamName=stream),
            ):
                with suppress(client.exceptions.ResourceAlreadyExistsException):
                    create()
            self._streams.add(place)
            client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=some)

    def _client(self, place: Place) -> Any:
        if place.region not in self._clients:
            self._clients[place.region] = aws.client("logs", place.region, self._url)
        return self._clients[place.region]


def clear(region: str, before: datetime) -> None:
    """Takes endpoints' older events out of moto, which has no call for it; other groups stay."""
    from moto.backends import get_backend

    limit = before.timestamp() * 1000
    for name, group in list(get_backend("logs")[ACCOUNT][region].groups.items()):
        if name.startswith(_GROUPS):
            for stream in list(group.streams.values()):
                stream.events = [event for event in stream.events if event.timestamp >= limit]


def _cut(events: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What one call takes, and the rest."""
    size = 0
    for count, event in enumerate(events[:_MOST_EVENTS]):
        size += len(event["message"].encode()) + 26
        if size > 1_000_000:
            return events[:count], events[count:]
    return events[:_MOST_EVENTS], events[_MOST_EVENTS:]
