"""CloudWatch's metrics of endpoints, by AWS's names, units and dimensions (developer guide, monitoring-cloudwatch).

moto keeps an object for each value that it gets, for ever. So values go as statistic sets, one a second and metric at
most, and what is older than KEPT is dropped: a busy endpoint costs some 50 MB, and an idle one next to nothing.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from polyhost.emulator import aws
from polyhost.emulator.config import ACCOUNT
from polyhost.emulator.telemetry.periodic import every
from polyhost.emulator.telemetry.recorder import Measurement, Recorder

SEND_EVERY_S = 1.0
KEPT = timedelta(hours=1)
CLEARED_EVERY = 60  # sendings
INSTANCE_METRICS = ("LoadedModelCount", "CPUUtilization", "MemoryUtilization", "DiskUtilization")
_MOST_METRICS = 500  # of one PutMetricData

_Key = tuple[str, str, str, str, str]  # region, endpoint, variant, name, unit


@dataclass
class _Statistics:
    count: int = 0
    sum: float = 0.0
    minimum: float = float("inf")
    maximum: float = float("-inf")

    def add(self, value: float) -> None:
        self.count += 1
        self.sum += value
        self.minimum = min(self.minimum, value)
        self.maximum = max(self.maximum, value)


class CloudWatch:
    """Sends what is measured."""

    def __init__(self, recorder: Recorder, url: str) -> None:
        self._url = url
        self._waiting: dict[_Key, _Statistics] = defaultdict(_Statistics)
        self._clients: dict[str, Any] = {}
        self._sendings = 0
        recorder.listen(on_measurement=self._take)

    async def run(self) -> None:
        await every(SEND_EVERY_S, self._send)

    def _take(self, measured: Measurement) -> None:
        place = measured.place
        self._waiting[place.region, place.endpoint, place.variant, measured.name, measured.unit].add(measured.value)

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, defaultdict(_Statistics)
        now = datetime.now(UTC)
        batches: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        for key, statistics in list(waiting.items()):  # the loop may still be adding to the last one
            namespace = "/aws/sagemaker/Endpoints" if key[3] in INSTANCE_METRICS else "AWS/SageMaker"
            batches[key[0], namespace].append(_datum(key, statistics, now))
        for (region, namespace), data in batches.items():
            client = self._clients.get(region)
            if client is None:
                client = self._clients[region] = aws.client("cloudwatch", region, self._url)
            for start in range(0, len(data), _MOST_METRICS):
                client.put_metric_data(Namespace=namespace, MetricData=data[start : start + _MOST_METRICS])
        self._sendings += 1
        if self._sendings % CLEARED_EVERY == 0:
            for region in self._clients:
                clear(region, now - KEPT)


def clear(region: str, before: datetime) -> None:
    """Takes endpoints' older values out of moto, which has no call for it; other metrics stay."""
    from moto.backends import get_backend

    backend = get_backend("cloudwatch")[ACCOUNT][region]
    known = backend.metric_data
    # moto keeps UTC without saying so.
    old = {id(datum) for datum in known if _ours(datum.namespace) and datum.timestamp.replace(tzinfo=UTC) < before}
    if old:
        # One assignment; what a request appends to the former list meanwhile comes after `known` as it was.
        backend.metric_data = [datum for datum in known if id(datum) not in old]


def _ours(namespace: str) -> bool:
    return namespace in ("AWS/SageMaker", "/aws/sagemaker/Endpoints")


def _datum(key: _Key, statistics: _Statistics, now: datetime) -> dict[str, Any]:
    _, endpoint, variant, name, unit = key
    return {
        "MetricName": name,
        "Dimensions": [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}],
        "Timestamp": now,
        "Unit": unit,
        "StatisticValues": {
            "SampleCount": statistics.count,
            "Sum": statistics.sum,
            "Minimum": statistics.minimum,
            "Maximum": statistics.maximum,
        },
    }
