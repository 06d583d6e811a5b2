"""Containers' output in CloudWatch Logs: group /aws/sagemaker/Endpoints/NAME, stream VARIANT/INSTANCE."""

import time
from collections import defaultdict
from contextlib import suppress
from typing import Any

from emulator import aws
from emulator.buffer import every
from emulator.recorder import Place, Recorder

SEND_EVERY_S = 0.5
_MOST_EVENTS = 1000
_LONGEST_LINE = 16_000  # PutLogEvents takes events of 256 KB, a megabyte at a time


class ContainerLogs:
    """Sends what containers print, in order."""

    def __init__(self, recorder: Recorder, url: str) -> None:
        self._url = url
        self._waiting: dict[Place, list[dict[str, Any]]] = defaultdict(list)
        self._clients: dict[str, Any] = {}
        self._streams: set[Place] = set()
        recorder.listen(on_log_line=self._take)

    async def run(self) -> None:
        await every(SEND_EVERY_S, self._send)

    def _take(self, place: Place, line: str) -> None:
        if line:  # PutLogEvents takes no empty message
            self._waiting[place].append({"timestamp": int(time.time() * 1000), "message": line[:_LONGEST_LINE]})

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, defaultdict(list)
        for place, events in waiting.items():
            client = self._client(place)
            group, stream = f"/aws/sagemaker/Endpoints/{place.endpoint}", f"{place.variant}/{place.instance}"
            if place not in self._streams:
                with suppress(client.exceptions.ResourceAlreadyExistsException):
                    client.create_log_group(logGroupName=group)
                client.create_log_stream(logGroupName=group, logStreamName=stream)
                self._streams.add(place)
            while events:
                some, events = _cut(events)
                client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=some)

    def _client(self, place: Place) -> Any:
        if place.region not in self._clients:
            self._clients[place.region] = aws.client("logs", place.region, self._url)
        return self._clients[place.region]


def _cut(events: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What one call takes, and the rest."""
    size = 0
    for count, event in enumerate(events[:_MOST_EVENTS]):
        size += len(event["message"].encode()) + 26
        if size > 1_000_000:
            return events[:count], events[count:]
    return events[:_MOST_EVENTS], events[_MOST_EVENTS:]
