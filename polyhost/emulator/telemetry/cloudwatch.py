"""Metrics of endpoints and transform jobs in CloudWatch, by AWS's names (developer guide, monitoring-cloudwatch).

moto keeps an object for each value that it gets, forever. Therefore values become statistic sets, at most one per
second and metric, and sets older than an hour are removed: a busy endpoint costs some 50 MB, and an idle one next to
nothing. With a time scale, a set covers no more than the shortest period of an alarm, and is kept for less time.
"""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from polyhost.emulator.config import ACCOUNT
from polyhost.emulator.telemetry.distribution import Distribution
from polyhost.emulator.telemetry.periodic import run_every
from polyhost.emulator.telemetry.recorder import NOT_OF_AWS, MetricValue, Place, PlaceKind, Recorder
from polyhost.emulator.time_scale import TimeScale

INSTANCE_METRICS = ("LoadedModelCount", "CPUUtilization", "MemoryUtilization", "DiskUtilization")
_ENDPOINT_NAMESPACE = "AWS/SageMaker"
_INSTANCE_NAMESPACES = {kind: f"/aws/sagemaker/{kind}" for kind in PlaceKind}
# SageMaker has no others of a transform job.
_JOB_METRICS = ("CPUUtilization", "MemoryUtilization")
_LONGEST_PERIOD_S = 1.0
_SHORTEST_ALARM_S = 10.0  # the shortest period of an alarm
_LONGEST_SAMPLING_S = 5.0  # AWS publishes once a minute
_SAMPLING_S = 30.0  # so that each minute has a value
_PERIODS_KEPT = 3600
_PERIODS_PER_CLEANUP = 60


def publishing_period(scale: TimeScale) -> float:
    """Return the seconds that a statistic set covers: no more than the shortest period of an alarm."""
    return min(_LONGEST_PERIOD_S, scale.passing(_SHORTEST_ALARM_S))


def sampling_period(scale: TimeScale) -> float:
    """Return the seconds between two samples of what AWS publishes once a minute."""
    return min(_LONGEST_SAMPLING_S, scale.passing(_SAMPLING_S))


class _Key(NamedTuple):
    place: Place  # of endpoints, without the instance
    name: str
    unit: str
    config: str  # the endpoint configuration, of metrics that tell two fleets apart


@dataclass
class _StatisticSet:
    count: int = 0
    sum: float = 0.0
    minimum: float = float("inf")
    maximum: float = float("-inf")
    distribution: Distribution = field(default_factory=Distribution)

    def add(self, value: float) -> None:
        self.distribution.add(value)
        self.count += 1
        self.sum += value
        self.minimum = min(self.minimum, value)
        self.maximum = max(self.maximum, value)


class CloudWatchPublisher:
    """Gives the recorder's metric values to moto."""

    def __init__(self, recorder: Recorder, scale: TimeScale) -> None:
        self._period_s = publishing_period(scale)
        self._pending: dict[_Key, _StatisticSet] = defaultdict(_StatisticSet)
        self._regions: set[str] = set()
        self._periods = 0
        recorder.listen(on_metric=self._on_metric)

    async def run(self) -> None:
        """Publish until cancelled."""
        await run_every(self._period_s, self._publish)

    def _on_metric(self, metric: MetricValue) -> None:
        place = metric.place
        if place.kind is PlaceKind.TRANSFORM_JOB:
            if metric.name not in _JOB_METRICS:
                return
        elif metric.name in NOT_OF_AWS:
            return
        elif place.instance:
            place = replace(place, instance="")
        self._pending[_Key(place, metric.name, metric.unit, "")].add(metric.value)
        if metric.config:
            self._pending[_Key(place, metric.name, metric.unit, metric.config)].add(metric.value)

    def _publish(self) -> None:
        pending, self._pending = self._pending, defaultdict(_StatisticSet)
        now = datetime.now(UTC)
        for key, statistics in list(pending.items()):  # a copy: the event loop may still be adding the last one
            in_instance = key.name in INSTANCE_METRICS
            namespace = _INSTANCE_NAMESPACES[key.place.kind] if in_instance else _ENDPOINT_NAMESPACE
            _add_to_moto(key, statistics, namespace, now)
            self._regions.add(key.place.region)
        self._periods += 1
        if self._periods % _PERIODS_PER_CLEANUP == 0:
            for region in self._regions:
                remove_metrics(region, now - timedelta(seconds=_PERIODS_KEPT * self._period_s))


def _add_to_moto(key: _Key, statistics: _StatisticSet, namespace: str, now: datetime) -> None:
    """Add a set as PutMetricData would, and with it what percentiles need, for which that has no room."""
    from polyhost.emulator.telemetry.moto_metrics import DistributionDatum, metric_data

    datum = DistributionDatum(
        namespace=namespace,
        name=key.name,
        min_stat=statistics.minimum,
        max_stat=statistics.maximum,
        sample_count=float(statistics.count),
        sum_stat=statistics.sum,
        dimensions=[{"Name": name, "Value": value} for name, value in _dimensions(key).items()],
        timestamp=now.replace(tzinfo=None),  # moto's times have no time zone
        unit=key.unit,
    )
    datum.distribution = statistics.distribution.packed()
    metric_data(key.place.region).append(datum)


def remove_metrics(region: str, before: datetime) -> None:
    """Remove endpoints' older values from moto, which has no API for it; other metrics stay."""
    from moto.backends import get_backend

    backend = get_backend("cloudwatch")[ACCOUNT][region]
    known = backend.metric_data
    # moto's timestamps are UTC without a time zone.
    old = {id(datum) for datum in known if _is_ours(datum.namespace) and datum.timestamp.replace(tzinfo=UTC) < before}
    if old:
        # A single assignment: moto's threads append to the list, and what they append to the old one during this line
        # comes behind `known` as it was read above.
        backend.metric_data = [datum for datum in known if id(datum) not in old]


def _is_ours(namespace: str) -> bool:
    return namespace in (_ENDPOINT_NAMESPACE, *_INSTANCE_NAMESPACES.values())


def _dimensions(key: _Key) -> dict[str, str]:
    place = key.place
    if place.kind is PlaceKind.TRANSFORM_JOB:
        dimensions = {"Host": f"{place.endpoint}/{place.instance}"}
    else:
        dimensions = {"EndpointName": place.endpoint, "VariantName": place.variant, "EndpointConfigName": key.config}
    dimensions["ContainerName"] = place.container
    return {name: value for name, value in dimensions.items() if value}
