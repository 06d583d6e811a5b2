"""Throughput and latency of variants and models over the last minutes, for the dashboard."""

import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from polyhost.emulator.alarms.statistics import percentile
from polyhost.emulator.telemetry.distribution import Distribution
from polyhost.emulator.telemetry.recorder import MetricValue, Place, PlaceKind, Recorder

STEP_S = 5
_KEPT_STEPS = 120
_MOST_CURVES = 2000  # of all endpoints; those without a request for the longest time make room
_COUNTED, _TIMED = "Invocations", "ModelLatency"
_US_PER_MS = 1000


class CurveKey(NamedTuple):
    """What a curve is of: a fleet of a variant, or one of its models."""

    region: str
    endpoint: str
    variant: str
    config: str
    model: str  # empty for the fleet


@dataclass
class _Step:
    """The requests of some seconds."""

    number: int
    requests: int = 0
    latencies: Distribution = field(default_factory=Distribution)


class _Point(NamedTuple):
    at: float
    requests: int
    p50_ms: float | None
    p99_ms: float | None


class _Curve:
    """Steps that had requests; those before the current one are kept as numbers only."""

    def __init__(self) -> None:
        self._points: deque[_Point] = deque(maxlen=_KEPT_STEPS)
        self._step: _Step | None = None

    def step(self, number: int) -> _Step:
        """Return the step of this number, which is not below that of the last call."""
        if self._step is None or self._step.number < number:
            if self._step is not None:
                self._points.append(_point(self._step))
            self._step = _Step(number)
        return self._step

    def points(self, since: float) -> list[_Point]:
        points = [*self._points, *([_point(self._step)] if self._step is not None else [])]
        return [point for point in points if point.at >= since]


class Curves:
    """Listens to the recorder, and keeps what happened in the last ten minutes."""

    def __init__(self, recorder: Recorder) -> None:
        self._curves: OrderedDict[CurveKey, _Curve] = OrderedDict()
        recorder.listen(on_metric=self._on_metric, on_removed=self._on_removed)

    def describe(self, region: str, endpoint: str) -> dict[str, Any]:
        """Return the curves of an endpoint as JSON."""
        now = time.time()
        since = (int(now / STEP_S) - _KEPT_STEPS) * STEP_S
        found = [
            {"variant": key.variant, "config": key.config, "model": key.model, "points": points}
            for key, curve in self._curves.items()
            if (key.region, key.endpoint) == (region, endpoint) and (points := curve.points(since))
        ]
        return {"step_s": STEP_S, "since": since, "now": now, "curves": found}

    def _on_metric(self, metric: MetricValue) -> None:
        if metric.name not in (_COUNTED, _TIMED):
            return
        place = metric.place
        if place.container or place.kind is not PlaceKind.ENDPOINT:  # of one of several: the variant has the sum
            return
        for curve in self._of(metric):
            step = curve.step(int(metric.at / STEP_S))
            if metric.name == _COUNTED:
                step.requests += int(metric.value)
            else:
                step.latencies.add(metric.value / _US_PER_MS)

    def _of(self, metric: MetricValue) -> Iterator[_Curve]:
        place = metric.place
        for model in ("", metric.model) if metric.model else ("",):
            key = CurveKey(place.region, place.endpoint, place.variant, metric.config, model)
            curve = self._curves.get(key)
            if curve is None:
                curve = self._curves[key] = _Curve()
                if len(self._curves) > _MOST_CURVES:
                    self._curves.popitem(last=False)
            self._curves.move_to_end(key)
            yield curve

    def _on_removed(self, place: Place) -> None:
        if place.kind is PlaceKind.ENDPOINT and not place.instance:
            for key in [key for key in self._curves if (key.region, key.endpoint) == (place.region, place.endpoint)]:
                del self._curves[key]


def _point(step: _Step) -> _Point:
    values = sorted(step.latencies.packed().items())
    p50, p99 = (round(percentile(values, percent), 3) if values else None for percent in (50, 99))
    return _Point(step.number * STEP_S, step.requests, p50, p99)
