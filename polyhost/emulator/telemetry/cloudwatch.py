"""Metrics of endpoints in CloudWatch, by AWS's names, units and dimensions (developer guide, monitoring-cloudwatch).

moto keeps an object for each value that it gets, forever. Therefore values go as statistic sets, at most one per second
and metric, and sets older than an hour are removed: a busy endpoint costs some 50 MB, and an idle one next to nothing.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from polyhost.emulator import aws_clients
from polyhost.emulator.config import ACCOUNT
from polyhost.emulator.telemetry.periodic import run_every
from polyhost.emulator.telemetry.recorder import SHADOW_COPIES_DROPPED, MetricValue, Recorder

INSTANCE_METRICS = ("LoadedModelCount", "CPUUtilization", "MemoryUtilization", "DiskUtilization")
_ENDPOINT_NAMESPACE = "AWS/SageMaker"
_INSTANCE_NAMESPACE = "/aws/sagemaker/Endpoints"
_PERIOD_S = 1.0
_RETENTION = timedelta(hours=1)
_PERIODS_PER_CLEANUP = 60
_MAX_METRICS = 500  # of one PutMetricData


class _Key(NamedTuple):
    region: str
    endpoint: str
    variant: str
    container: str
    name: str
    unit: str


@dataclass
class _StatisticSet:
    count: int = 0
    sum: float = 0.0
    minimum: float = float("inf")
    maximum: float = float("-inf")

    def add(self, value: float) -> None:
        self.count += 1
        self.sum += value
        self.minimum = min(self.minimum, value)
        self.maximum = max(self.maximum, value)


class CloudWatchPublisher:
    """Publishes the recorder's metric values. `url` is the emulator's own."""

    def __init__(self, recorder: Recorder, url: str) -> None:
        self._url = url
        self._pending: dict[_Key, _StatisticSet] = defaultdict(_StatisticSet)
        self._clients: dict[str, Any] = {}  # by region
        self._periods = 0
        recorder.listen(on_metric=self._on_metric)

    async def run(self) -> None:
        """Publish until cancelled."""
        await run_every(_PERIOD_S, self._publish)

    def _on_metric(self, metric: MetricValue) -> None:
        if metric.name == SHADOW_COPIES_DROPPED:
            return
        place = metric.place
        key = _Key(place.region, place.endpoint, place.variant, place.container, metric.name, metric.unit)
        self._pending[key].add(metric.value)

    def _publish(self) -> None:
        pending, self._pending = self._pending, defaultdict(_StatisticSet)
        now = datetime.now(UTC)
        batches: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        for key, statistics in list(pending.items()):  # a copy: the event loop may still be adding the last one
            namespace = _INSTANCE_NAMESPACE if key.name in INSTANCE_METRICS else _ENDPOINT_NAMESPACE
            batches[key.region, namespace].append(_datum(key, statistics, now))
        for (region, namespace), data in batches.items():
            client = self._clients.get(region)
            if client is None:
                client = self._clients[region] = aws_clients.client("cloudwatch", region, self._url)
            for start in range(0, len(data), _MAX_METRICS):
                client.put_metric_data(Namespace=namespace, MetricData=data[start : start + _MAX_METRICS])
        self._periods += 1
        if self._periods % _PERIODS_PER_CLEANUP == 0:
            for region in self._clients:
                remove_metrics(region, now - _RETENTION)


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
    return namespace in (_ENDPOINT_NAMESPACE, _INSTANCE_NAMESPACE)


def _datum(key: _Key, statistics: _StatisticSet, now: datetime) -> dict[str, Any]:
    dimensions = {"EndpointName": key.endpoint, "VariantName": key.variant}
    if key.container:
        dimensions["ContainerName"] = key.container
    return {
        "MetricName": key.name,
        "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
        "Timestamp": now,
        "Unit": key.unit,
        "StatisticValues": {
            "SampleCount": statistics.count,
            "Sum": statistics.sum,
            "Minimum": statistics.minimum,
            "Maximum": statistics.maximum,
        },
    }
