"""What happens: events for the page, numbers for CloudWatch and Prometheus. One place, so that all tell the same."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

KEPT_EVENTS = 1000


@dataclass(frozen=True)
class Place:
    """Where something happens."""

    region: str
    endpoint: str
    variant: str = ""
    instance: str = ""


@dataclass(frozen=True)
class Event:
    """Something that happened.

    `kind`: endpoint, instance, downloaded, loaded, unloaded, refused (507), failed, restarted, overwritten or fault.
    """

    kind: str
    place: Place
    message: str
    model: str = ""
    ms: float | None = None
    at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Measurement:
    """One value of a CloudWatch metric; `model` is for Prometheus only, AWS has no metrics per model."""

    name: str  # as CloudWatch names it, e.g. ModelLoadingTime
    value: float
    unit: str  # as CloudWatch names it: Microseconds, None, Percent
    place: Place
    model: str = ""
    at: float = field(default_factory=time.time)


class Recorder:
    """Keeps the last events; hands events and measurements to whoever listens.

    Listeners are called in the event loop and must not block.
    """

    def __init__(self) -> None:
        self.events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._on_event: list[Callable[[Event], None]] = []
        self._on_measurement: list[Callable[[Measurement], None]] = []
        self._on_log_line: list[Callable[[Place, str], None]] = []
        self._on_gone: list[Callable[[Place], None]] = []

    def listen(
        self,
        on_event: Callable[[Event], None] | None = None,
        on_measurement: Callable[[Measurement], None] | None = None,
        on_log_line: Callable[[Place, str], None] | None = None,
        on_gone: Callable[[Place], None] | None = None,
    ) -> None:
        self._on_event += [on_event] if on_event else []
        self._on_measurement += [on_measurement] if on_measurement else []
        self._on_log_line += [on_log_line] if on_log_line else []
        self._on_gone += [on_gone] if on_gone else []

    @contextmanager
    def following(self, on_event: Callable[[Event], None]) -> Iterator[None]:
        """Listens while the block runs."""
        self._on_event.append(on_event)
        try:
            yield
        finally:
            self._on_event.remove(on_event)

    def event(self, kind: str, place: Place, message: str, **details: Any) -> None:
        event = Event(kind, place, message, **details)
        self.events.append(event)
        for listener in self._on_event:
            listener(event)

    def measure(self, name: str, value: float, unit: str, place: Place, model: str = "") -> None:
        measurement = Measurement(name, value, unit, place, model)
        for listener in self._on_measurement:
            listener(measurement)

    def log_line(self, place: Place, line: str) -> None:
        """A line of a container's output."""
        for listener in self._on_log_line:
            listener(place, line)

    def gone(self, place: Place) -> None:
        """An endpoint, or an instance, of which nothing more will be told."""
        for listener in self._on_gone:
            listener(place)
