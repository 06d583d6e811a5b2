"""The part of /metrics that is about memory: what admission goes by."""

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from polyhost.cgroup import ControlGroup
from polyhost.container.memory.gauge import MemoryGauge


class MemoryCollector(Collector):
    """Reads the memory state for /metrics."""

    def collect(self) -> list[Metric]:
        state = MemoryGauge(ControlGroup.current()).read()
        return [
            GaugeMetricFamily("polyhost_memory_limit_bytes", "What the container may use in all.", value=state.limit),
            GaugeMetricFamily(
                "polyhost_memory_available_bytes", "What it may still use, the reserve included.", value=state.available
            ),
        ]
