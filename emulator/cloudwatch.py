"""CloudWatch's metrics of endpoints, by AWS's names, units and dimensions (developer guide, monitoring-cloudwatch)."""

from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import Any

from emulator import aws
from emulator.buffer import every
from emulator.recorder import Measurement, Recorder

SEND_EVERY_S = 0.5
INSTANCE_METRICS = ("LoadedModelCount", "CPUUtilization", "MemoryUtilization", "DiskUtilization")
_MOST_VALUES = 150  # PutMetricData, Values

_Key = tuple[str, str, str, str, str]  # region, endpoint, variant, name, unit


class CloudWatch:
    """Sends what is measured. moto keeps every single value, so equal ones are rounded to be sent as a count."""

    def __init__(self, recorder: Recorder, url: str) -> None:
        self._url = url
        self._waiting: dict[_Key, Counter[float]] = defaultdict(Counter)
        self._clients: dict[str, Any] = {}
        recorder.listen(on_measurement=self._take)

    async def run(self) -> None:
        await every(SEND_EVERY_S, self._send)

    def _take(self, measured: Measurement) -> None:
        place = measured.place
        key = place.region, place.endpoint, place.variant, measured.name, measured.unit
        self._waiting[key][round(measured.value, 6)] += 1

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, defaultdict(Counter)
        now = datetime.now(UTC)
        batches: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        for key, values in waiting.items():
            namespace = "/aws/sagemaker/Endpoints" if key[3] in INSTANCE_METRICS else "AWS/SageMaker"
            batches[key[0], namespace] += _data(key, values, now)
        for (region, namespace), data in batches.items():
            client = self._clients.get(region)
            if client is None:
                client = self._clients[region] = aws.client("cloudwatch", region, self._url)
            for start in range(0, len(data), 500):
                client.put_metric_data(Namespace=namespace, MetricData=data[start : start + 500])


def _data(key: _Key, values: Counter[float], now: datetime) -> list[dict[str, Any]]:
    _, endpoint, variant, name, unit = key
    dimensions = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}]
    items = list(values.items())
    return [
        {
            "MetricName": name,
            "Dimensions": dimensions,
            "Timestamp": now,
            "Unit": unit,
            "Values": [value for value, _ in items[start : start + _MOST_VALUES]],
            "Counts": [float(count) for _, count in items[start : start + _MOST_VALUES]],
        }
        for start in range(0, len(items), _MOST_VALUES)
    ]
