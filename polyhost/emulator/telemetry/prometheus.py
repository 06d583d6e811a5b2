"""Metrics of endpoints for Prometheus, with a series per model, which CloudWatch does not have."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics import MetricWrapperBase
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from polyhost.emulator.telemetry.cloudwatch import INSTANCE_METRICS
from polyhost.emulator.telemetry.recorder import SHADOW_COPIES_DROPPED, MetricValue, Place, Recorder

_MODEL_LABELS = ("region", "endpoint", "variant", "model")
_INSTANCE_LABELS = ("region", "endpoint", "variant", "instance")
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_COUNTERS = {
    "Invocations": ("invocations", "invocations of the model"),
    "Invocation4XXErrors": ("invocation_4xx_errors", "invocations to which the container responded with 4xx"),
    "Invocation5XXErrors": ("invocation_5xx_errors", "invocations to which the container responded with 5xx"),
    SHADOW_COPIES_DROPPED: ("shadow_copies_dropped", "copies that a slow shadow variant did not get"),
    "ModelCacheHit": ("model_cache_hits", "invocations that found the model loaded"),
}
_HISTOGRAMS = {
    "ModelLatency": ("model_latency_seconds", "time that the container took to respond"),
    "OverheadLatency": ("overhead_latency_seconds", "time of an invocation without the container's"),
    "ModelLoadingWaitTime": ("model_loading_wait_seconds", "time that an invocation waited for its model"),
    "ModelDownloadingTime": ("model_downloading_seconds", "time of a download"),
    "ModelLoadingTime": ("model_loading_seconds", "time that the container took to load a model"),
    "ModelUnloadingTime": ("model_unloading_seconds", "time that the container took to unload a model"),
}


class PrometheusExporter:
    """Exports the recorder's metric values."""

    def __init__(self, recorder: Recorder) -> None:
        self._registry = CollectorRegistry()
        self._counters = {
            name: Counter(f"polyhost_{known}", text, _MODEL_LABELS, registry=self._registry)
            for name, (known, text) in _COUNTERS.items()
        }
        self._histograms = {
            name: Histogram(f"polyhost_{known}", text, _MODEL_LABELS, buckets=_BUCKETS_S, registry=self._registry)
            for name, (known, text) in _HISTOGRAMS.items()
        }
        self._gauges = {
            name: Gauge(f"polyhost_{_snake_case(name)}", name, _INSTANCE_LABELS, registry=self._registry)
            for name in INSTANCE_METRICS
        }
        recorder.listen(on_metric=self._on_metric, on_removed=self._on_removed)

    def routes(self) -> list[Route]:
        """Return the route for Prometheus to scrape."""
        return [Route("/_polyhost/metrics", self._get)]

    async def _get(self, request: Request) -> Response:
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

    def _on_metric(self, metric: MetricValue) -> None:
        place = metric.place
        if place.container:  # of one of several: the instance has the sum
            return
        labels = place.region, place.endpoint, place.variant, metric.model
        if counter := self._counters.get(metric.name):
            counter.labels(*labels).inc(metric.value)
        elif histogram := self._histograms.get(metric.name):
            histogram.labels(*labels).observe(metric.value / 1e6)
        elif gauge := self._gauges.get(metric.name):
            gauge.labels(place.region, place.endpoint, place.variant, place.instance).set(metric.value)

    def _on_removed(self, place: Place) -> None:
        """Remove the series of an endpoint or instance; Prometheus itself keeps what it has scraped."""
        known = {"region": place.region, "endpoint": place.endpoint}
        series: tuple[MetricWrapperBase, ...] = tuple(self._gauges.values())
        if place.instance:
            known["instance"] = place.instance
        else:
            series += (*self._counters.values(), *self._histograms.values())
        for metric in series:
            metric.remove_by_labels(known)


def _snake_case(name: str) -> str:
    return (
        "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
        .lstrip("_")
        .replace("c_p_u_", "cpu_")
    )
