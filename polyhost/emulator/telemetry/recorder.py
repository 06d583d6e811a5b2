"""Events for the dashboard, metrics for CloudWatch and Prometheus: recorded once, so that all of them agree."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

KEPT_EVENTS = 1000
SHADOW_COPIES_DROPPED = "ShadowCopiesDropped"
CAPTURES_DROPPED = "CapturesDropped"
DEPLOYMENT_SHARE = "DeploymentShare"
DEPLOYMENTS_DONE = "DeploymentsDone"
DEPLOYMENTS_ROLLED_BACK = "DeploymentsRolledBack"
ROLLBACKS_FAILED = "RollbacksFailed"
# Metrics for Prometheus only.
NOT_OF_AWS = frozenset(
    (
        *(SHADOW_COPIES_DROPPED, CAPTURES_DROPPED),
        *(DEPLOYMENT_SHARE, DEPLOYMENTS_DONE, DEPLOYMENTS_ROLLED_BACK, ROLLBACKS_FAILED),
    )
)


class PlaceKind(StrEnum):
    """What has instances; the values are those in the names of CloudWatch's log groups and namespaces."""

    ENDPOINT = "Endpoints"
    TRANSFORM_JOB = "TransformJobs"


@dataclass(frozen=True)
class Place:
    """An endpoint, one of its variants or instances, or one of several containers, in an instance or in all.

    Of a transform job, `endpoint` is the job's name, and there is no variant.
    """

    region: str
    endpoint: str
    variant: str = ""
    instance: str = ""
    container: str = ""
    kind: PlaceKind = PlaceKind.ENDPOINT


class EventKind(StrEnum):
    """Kinds of events; the values are part of the JSON below /_polyhost/events."""

    ENDPOINT = "endpoint"
    TRANSFORM_JOB = "transform-job"
    INSTANCE = "instance"
    DOWNLOADED = "downloaded"
    LOADED = "loaded"
    UNLOADED = "unloaded"
    REFUSED = "refused"  # a load that the container answered with 507
    FAILED = "failed"
    RESTARTED = "restarted"
    OVERWRITTEN = "overwritten"
    FAULT = "fault"
    DEPLOYMENT = "deployment"  # a stage or a step of an endpoint's update
    SCALING = "scaling"  # a change of capacity by Application Auto Scaling
    ALARM = "alarm"  # a change of an alarm's state
    MONITORING = "monitoring"  # the end of an execution of a monitoring schedule
    QUEUE = "queue"  # what became of queued asynchronous invocations, apart from answers


@dataclass(frozen=True)
class Event:
    """An event at an endpoint or one of its instances."""

    kind: EventKind
    place: Place
    message: str
    model: str = ""
    ms: float | None = None
    at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class MetricValue:
    """One value of a CloudWatch metric. `model` is for Prometheus only: AWS has no metrics per model.

    `config` is the endpoint configuration of the fleet that the value is from, if it is one of those that AWS has with
    this dimension too.
    """

    name: str  # as CloudWatch names it, e.g. ModelLoadingTime
    value: float
    unit: str  # as CloudWatch names it: Microseconds, None, Percent
    place: Place
    model: str = ""
    config: str = ""
    at: float = field(default_factory=time.time)


class Recorder:
    """Keeps the latest events, and passes events, metric values and log lines on to its listeners.

    Listeners are called in the event loop and must not block.
    """

    def __init__(self) -> None:
        self.events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._on_event: list[Callable[[Event], None]] = []
        self._on_metric: list[Callable[[MetricValue], None]] = []
        self._on_log_line: list[Callable[[Place, str], None]] = []
        self._on_removed: list[Callable[[Place], None]] = []

    def listen(
        self,
        on_event: Callable[[Event], None] | None = None,
        on_metric: Callable[[MetricValue], None] | None = None,
        on_log_line: Callable[[Place, str], None] | None = None,
        on_removed: Callable[[Place], None] | None = None,
    ) -> None:
        """Add listeners for as long as the recorder lives."""
        self._on_event += [on_event] if on_event else []
        self._on_metric += [on_metric] if on_metric else []
        self._on_log_line += [on_log_line] if on_log_line else []
        self._on_removed += [on_removed] if on_removed else []

    @contextmanager
    def following(self, on_event: Callable[[Event], None]) -> Iterator[None]:
        """Listen to events while the block runs."""
        self._on_event.append(on_event)
        try:
            yield
        finally:
            self._on_event.remove(on_event)

    def event(self, kind: EventKind, place: Place, message: str, **details: Any) -> None:
        """Record an event; `details` are further fields of `Event`."""
        event = Event(kind, place, message, **details)
        self.events.append(event)
        for listener in self._on_event:
            listener(event)

    def measure(self, name: str, value: float, unit: str, place: Place, model: str = "", config: str = "") -> None:
        """Record one value of a metric."""
        metric_value = MetricValue(name, value, unit, place, model, config)
        for listener in self._on_metric:
            listener(metric_value)

    def log_line(self, place: Place, line: str) -> None:
        """Record a line of a container's output."""
        for listener in self._on_log_line:
            listener(place, line)

    def remove(self, place: Place) -> None:
        """Announce that an endpoint or instance has been deleted; nothing more is recorded of it."""
        for listener in self._on_removed:
            listener(place)
