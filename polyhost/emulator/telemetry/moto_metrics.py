"""Metric values in moto's CloudWatch."""

from typing import Any

from moto.cloudwatch.models import MetricAggregatedDatum, MetricDatumBase, cloudwatch_backends

from polyhost.emulator.config import ACCOUNT
from polyhost.emulator.telemetry.distribution import PackedDistribution


class DistributionDatum(MetricAggregatedDatum):
    """A statistic set whose values are known."""

    distribution: PackedDistribution

    def filter(
        self,
        namespace: str | None,
        name: str | None,
        dimensions: list[dict[str, str]],
        already_present_metrics: list[MetricDatumBase] | None = None,
    ) -> bool:
        """Tell whether a request is for the set. GetMetricStatistics is for exactly the dimensions that it names."""
        if already_present_metrics is None and dimensions and len(dimensions) != len(self.dimensions):
            return False
        return bool(super().filter(namespace, name, dimensions, already_present_metrics))


def metric_data(region: str) -> list[Any]:
    """Return the list of a region's values, which may be replaced: do not keep it."""
    data: list[Any] = cloudwatch_backends[ACCOUNT][region].metric_data
    return data
