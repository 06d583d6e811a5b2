"""Metrics of executions in CloudWatch (developer guide, model-monitor-interpreting-cloudwatch)."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from polyhost.emulator import aws_clients
from polyhost.emulator.monitoring.spec import MonitoringType, MonitorSpec

# AWS's pages and its examples disagree: alarms on either one fire.
_NAMESPACES = {
    MonitoringType.DATA_QUALITY: ("aws/sagemaker/Endpoints/data-metrics", "/aws/sagemaker/Endpoints/data-metrics"),
    MonitoringType.MODEL_QUALITY: ("aws/sagemaker/Endpoints/model-metrics", "/aws/sagemaker/Endpoints/model-metrics"),
}
_AT_ONCE = 500  # PutMetricData takes 1,000

logger = logging.getLogger(__name__)


class MonitoringMetrics:
    """Puts metrics into the emulator's own CloudWatch, at `url`."""

    def __init__(self, url: str) -> None:
        self._client = lru_cache(None)(lambda region: aws_clients.client("cloudwatch", region, url))

    async def publish(
        self, region: str, spec: MonitorSpec, schedule: str, metrics: Sequence[Mapping[str, Any]]
    ) -> None:
        """Publish the metrics of an execution; a failure is logged."""
        dimensions = [{"Name": "Endpoint", "Value": spec.endpoint}, {"Name": "MonitoringSchedule", "Value": schedule}]
        data = [{**metric, "Dimensions": dimensions} for metric in metrics]
        try:
            await asyncio.to_thread(self._put, region, _NAMESPACES[spec.type], data)
        except (BotoCoreError, ClientError):
            logger.exception("cannot publish the metrics of monitoring schedule %s", schedule)

    def _put(self, region: str, namespaces: Sequence[str], data: Sequence[Mapping[str, Any]]) -> None:
        for namespace in namespaces:
            for start in range(0, len(data), _AT_ONCE):
                self._client(region).put_metric_data(Namespace=namespace, MetricData=data[start : start + _AT_ONCE])
