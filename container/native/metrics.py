"""The text of /metrics, in Prometheus' exposition format."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from polyhost.container.memory.metrics import MemoryCollector
from polyhost.container.model_store.counters import StoreMetrics
from polyhost.container.model_store.metrics import StoreCollector
from polyhost.container.native.stats import Histogram, Sample


def render(samples: Sequence[Sample], store: StoreMetrics | None = None) -> tuple[bytes, bytes]:
    """Return the content type and the text."""
    registry = CollectorRegistry()
    registry.register(_SampleCollector(samples))
    registry.register(MemoryCollector())
    if store is not None:
        registry.register(StoreCollector(store))
    return CONTENT_TYPE_LATEST.encode(), generate_latest(registry)


class _SampleCollector(Collector):
    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples

    def collect(self) -> list[Metric]:
        return [
            self._labelled("polyhost_invocations", "Responses by status.", "status", lambda one: one.stats.responses),
            self._labelled("polyhost_errors", "Rejections of the front end.", "kind", lambda one: one.stats.errors),
            self._histogram("polyhost_queue_seconds", "Time in the queue.", lambda one: one.stats.queue_seconds),
            self._histogram("polyhost_predict_seconds", "Time at a worker.", lambda one: one.stats.predict_seconds),
            self._histogram("polyhost_batch_size", "Requests in one batch.", lambda one: one.stats.batch_sizes),
            self._counter("polyhost_loads", "Successful loads.", lambda one: one.stats.loads),
            self._counter("polyhost_load_failures", "Failed loads.", lambda one: one.stats.load_failures),
            self._labelled("polyhost_load_seconds", "Time of loads.", "phase", lambda one: one.stats.load_seconds),
            self._counter("polyhost_unloads", "Unloads.", lambda one: one.stats.unloads),
            self._counter("polyhost_worker_restarts", "Replaced workers.", lambda one: one.stats.worker_restarts),
            self._gauge("polyhost_loaded", "1 while the model is loaded.", lambda one: one.loaded),
            self._gauge("polyhost_workers", "Worker processes.", lambda one: one.workers),
            self._gauge("polyhost_waiting", "Requests in the queue.", lambda one: one.waiting),
            self._gauge("polyhost_worker_memory_bytes", "Memory of one worker.", lambda one: one.stats.memory_bytes),
        ]

    def _counter(self, name: str, help_text: str, value: Callable[[Sample], float]) -> Metric:
        family = CounterMetricFamily(name, help_text, labels=["model"])
        for sample in self._samples:
            family.add_metric([sample.name], value(sample))
        return family

    def _labelled(
        self, name: str, help_text: str, label: str, values: Callable[[Sample], Mapping[Any, float]]
    ) -> Metric:
        family = CounterMetricFamily(name, help_text, labels=["model", label])
        for sample in self._samples:
            for key, value in list(values(sample).items()):  # copied: this runs in a thread beside the event loop
                family.add_metric([sample.name, str(key)], value)
        return family

    def _gauge(self, name: str, help_text: str, value: Callable[[Sample], float]) -> Metric:
        family = GaugeMetricFamily(name, help_text, labels=["model"])
        for sample in self._samples:
            family.add_metric([sample.name], value(sample))
        return family

    def _histogram(self, name: str, help_text: str, value: Callable[[Sample], Histogram]) -> Metric:
        family = HistogramMetricFamily(name, help_text, labels=["model"])
        for sample in self._samples:
            histogram = value(sample)
            family.add_metric([sample.name], histogram.buckets(), histogram.total)
        return family
