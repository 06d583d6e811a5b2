"""The values of moto's CloudWatch, as alarms read them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, NamedTuple

from polyhost.emulator.config import ACCOUNT
from polyhost.emulator.telemetry.distribution import PackedDistribution


class Metric(NamedTuple):
    """What tells a metric from others; dimensions are sorted pairs of name and value."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class MetricSample:
    """A statistic set, or a single value, at a time in seconds since 1970.

    `values` are the values with their counts, None where only the set is known.
    """

    at: float
    count: float
    sum: float
    minimum: float
    maximum: float
    unit: str | None = None
    values: tuple[tuple[float, float], ...] | None = None


class Samples:
    """Some metrics of a region, since a time."""

    def __init__(self, found: dict[Metric, list[MetricSample]]) -> None:
        self._found = found

    def window(self, metric: Metric, start: float, end: float, unit: str | None) -> list[MetricSample]:
        """Return a metric's samples from `start` until before `end`, of one unit or of all."""
        return [
            sample for sample in self._found.get(metric, ()) if start <= sample.at < end and unit in (None, sample.unit)
        ]


def read_samples(region: str, wanted: Iterable[Metric], since: float) -> Samples:
    """Read metrics from moto, in one pass over what it has."""
    from moto.cloudwatch.models import cloudwatch_backends

    metrics = set(wanted)
    names = {(metric.namespace, metric.name) for metric in metrics}
    found: dict[Metric, list[MetricSample]] = defaultdict(list)
    for datum in list(cloudwatch_backends[ACCOUNT][region].metric_data):
        if (datum.namespace, datum.name) not in names:
            continue
        metric = Metric(datum.namespace, datum.name, sorted_dimensions(datum.dimensions))
        if metric in metrics and _time_of(datum) >= since:
            found[metric].append(sample_of(datum))
    return Samples(found)


def sorted_dimensions(dimensions: Sequence[Any]) -> tuple[tuple[str, str], ...]:
    """Return moto's dimensions as pairs."""
    return tuple(sorted((str(item.name), str(item.value)) for item in dimensions))


def sample_of(datum: Any) -> MetricSample:
    """Return what a datum of moto's says."""
    at = _time_of(datum)
    if hasattr(datum, "value"):
        value = datum.value
        return MetricSample(at, 1.0, value, value, value, datum.unit, ((value, 1.0),))
    return MetricSample(at, datum.sample_count, datum.sum, datum.min, datum.max, datum.unit, _values(datum))


def _time_of(datum: Any) -> float:
    at: float = datum.timestamp.replace(tzinfo=UTC).timestamp()
    return at


def _values(datum: Any) -> tuple[tuple[float, float], ...] | None:
    distribution: PackedDistribution | None = getattr(datum, "distribution", None)
    if distribution is not None:
        return tuple(_within(distribution, datum.min, datum.max))
    # Percentiles of a set need all values to be known (CloudWatch user guide, statistics definitions).
    return ((datum.min, datum.sample_count),) if datum.min == datum.max or datum.sample_count == 1 else None


def _within(distribution: PackedDistribution, least: float, most: float) -> Iterator[tuple[float, float]]:
    """Yield the values, none of which rounding has led out of the range."""
    for value, count in distribution.items():
        yield min(max(value, least), most), float(count)
