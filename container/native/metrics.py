"""The page that Prometheus reads."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from polyhost.container.native.stats import Histogram, Sample


def page(samples: Sequence[Sample]) -> tuple[bytes, bytes]:
    """The content type, and the page."""
    registry = CollectorRegistry()
    registry.register(_Samples(samples))
    return CONTENT_TYPE_LATEST.encode(), generate_latest(registry)


class _Samples(Collector):
    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples

    def collect(self) -> list[Metric]:
        return [
            self._by("polyhost_invocations", "Answers, by status.", "status", lambda one: one.stats.answers),
            self._by("polyhost_errors", "What the front end refused, by kind.", "kind", lambda one: one.stats.errors),
            self._histogram("polyhost_queue_seconds", "Waiting for a worker.", lambda one: one.stats.queue_seconds),
            self._histogram("polyhost_predict_seconds", "At the worker.", lambda one: one.stats.predict_seconds),
            self._histogram("polyhost_batch_size", "Calls that went together.", lambda one: one.stats.batch_sizes),
            self._counter("polyhost_loads", "Loads that succeeded.", lambda one: one.stats.loads),
            self._counter("polyhost_load_failures", "Loads that failed.", lambda one: one.stats.load_failures),
            self._by("polyhost_load_seconds", "Time spent on loads.", "phase", lambda one: one.stats.load_seconds),
            self._counter("polyhost_unloads", "Unloads.", lambda one: one.stats.unloads),
            self._counter("polyhost_worker_restarts", "Workers replaced.", lambda one: one.stats.worker_restarts),
            self._gauge("polyhost_loaded", "1 while the model is loaded.", lambda one: one.loaded),
            self._gauge("polyhost_workers", "Processes of the model.", lambda one: one.workers),
            self._gauge("polyhost_waiting", "Calls that wait for a worker.", lambda one: one.waiting),
            self._gauge("polyhost_worker_memory_bytes", "Of one worker.", lambda one: one.stats.memory_bytes),
        ]

    def _counter(self, name: str, what: str, value: Callable[[Sample], float]) -> Metric:
        family = CounterMetricFamily(name, what, labels=["model"])
        for sample in self._samples:
            family.add_metric([sample.name], value(sample))
        return family

    def _by(self, name: str, what: str, label: str, values: Callable[[Sample], Mapping[Any, float]]) -> Metric:
        family = CounterMetricFamily(name, what, labels=["model", label])
        for sample in self._samples:
            for key, value in list(values(sample).items()):
                family.add_metric([sample.name, str(key)], value)
        return family

    def _gauge(self, name: str, what: str, value: Callable[[Sample], float]) -> Metric:
        family = GaugeMetricFamily(name, what, labels=["model"])
        for sample in self._samples:
            family.add_metric([sample.name], value(sample))
        return family

    def _histogram(self, name: str, what: str, found: Callable[[Sample], Histogram]) -> Metric:
        family = HistogramMetricFamily(name, what, labels=["model"])
        for sample in self._samples:
            histogram = found(sample)
            family.add_metric([sample.name], histogram.buckets(), histogram.total)
        return family
