"""The part of /metrics that is about the model store."""

import time
from collections import Counter

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from polyhost.container.model_store.counters import StoreMetrics


class StoreCollector(Collector):
    """Renders them for /metrics."""

    def __init__(self, metrics: StoreMetrics) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        counters, levels = self._metrics.counters, self._metrics.levels
        oldest = 0.0 if levels.oldest_use is None else max(0.0, time.time() - levels.oldest_use)
        return [
            _counter("polyhost_target_hits", "Invocations that found the model loaded.", counters.hits),
            _counter("polyhost_target_misses", "Invocations that had to wait for a load.", counters.misses),
            _labelled("polyhost_target_failures", "Models that could not be had.", "kind", counters.failures),
            _labelled("polyhost_evictions", "Models unloaded by the container.", "reason", counters.evictions),
            _counter("polyhost_downloads", "Archives fetched and unpacked.", counters.downloads),
            _counter("polyhost_download_bytes", "Bytes of these archives.", counters.download_bytes),
            _counter("polyhost_download_seconds", "Time of fetching and unpacking.", counters.download_seconds),
            _counter("polyhost_store_loads", "Models loaded from the store.", counters.loads),
            _counter("polyhost_store_load_seconds", "Time of these loads.", counters.load_seconds),
            _counter("polyhost_replacements", "New versions that took the place of old ones.", counters.replacements),
            _counter("polyhost_failed_replacements", "New versions not loaded.", counters.failed_replacements),
            _counter("polyhost_store_failures", "Looks into the store that failed.", counters.store_failures),
            _gauge("polyhost_store_loaded", "Models loaded from the store.", levels.loaded),
            _gauge("polyhost_disk_bytes", "Unpacked archives.", levels.disk_bytes),
            _gauge("polyhost_disk_limit_bytes", "Their budget.", levels.disk_limit_bytes),
            _gauge("polyhost_oldest_use_seconds", "Age of the longest unused loaded model's last use.", oldest),
        ]


def _counter(name: str, help_text: str, value: float) -> Metric:
    return CounterMetricFamily(name, help_text, value=value)


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=value)


def _labelled(name: str, help_text: str, label: str, values: Counter[str]) -> Metric:
    family = CounterMetricFamily(name, help_text, labels=[label])
    for key, value in list(values.items()):  # copied: this runs in a thread beside the event loop
        family.add_metric([key], value)
    return family
