"""Metrics of endpoints for Prometheus, with a series per model, which CloudWatch does not have."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics import MetricWrapperBase
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from polyhost.emulator.telemetry.cloudwatch import INSTANCE_METRICS
from polyhost.emulator.telemetry.recorder import (
    CAPTURES_DROPPED,
    DEPLOYMENT_SHARE,
    DEPLOYMENTS_DONE,
    DEPLOYMENTS_ROLLED_BACK,
    ROLLBACKS_FAILED,
    SHADOW_COPIES_DROPPED,
    MetricValue,
    Place,
    PlaceKind,
    Recorder,
)

_MODEL_LABELS = ("region", "endpoint", "variant", "model")
_INSTANCE_LABELS = ("region", "endpoint", "variant", "instance")
_ENDPOINT_LABELS = ("region", "endpoint")
_CONFIG_LABELS = ("region", "endpoint", "config")
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_COUNTERS = {
    "Invocations": ("invocations", "invocations of the model"),
    "Invocation4XXErrors": ("invocation_4xx_errors", "invocations to which the container responded with 4xx"),
    "Invocation5XXErrors": ("invocation_5xx_errors", "invocations to which the container responded with 5xx"),
    CAPTURES_DROPPED: ("captures_dropped", "captured invocations that could not be written in time"),
    SHADOW_COPIES_DROPPED: ("shadow_copies_dropped", "copies that a slow shadow variant did not get"),
    "ModelCacheHit": ("model_cache_hits", "invocations that found the model loaded"),
    "InvocationsProcessed": ("async_invocations", "asynchronous invocations that ended, one way or the other"),
    "InvocationFailures": ("async_failures", "asynchronous invocations that failed"),
    "ExpiredRequests": ("async_expired_requests", "asynchronous invocations that waited for longer than their TTL"),
    "NotificationFailures": ("async_notification_failures", "notifications that could not be published"),
}
_HISTOGRAMS = {
    "ModelLatency": ("model_latency_seconds", "time that the container took to respond"),
    "OverheadLatency": ("overhead_latency_seconds", "time of an invocation without the container's"),
    "ModelSetupTime": ("model_setup_seconds", "time of a cold start of a serverless container"),
    "ModelLoadingWaitTime": ("model_loading_wait_seconds", "time that an invocation waited for its model"),
    "ModelDownloadingTime": ("model_downloading_seconds", "time of a download"),
    "ModelLoadingTime": ("model_loading_seconds", "time that the container took to load a model"),
    "ModelUnloadingTime": ("model_unloading_seconds", "time that the container took to unload a model"),
    "TimeInBacklog": ("async_backlog_seconds", "time that an asynchronous invocation was queued"),
    "TotalProcessingTime": ("async_processing_seconds", "time from an asynchronous request to its notification"),
}
_BACKLOG = {
    "ApproximateBacklogSize": ("async_backlog", "asynchronous invocations that wait or run"),
    "ApproximateAgeOfOldestRequest": ("async_oldest_request_seconds", "age of the oldest of them"),
}
_DEPLOYMENTS = {
    DEPLOYMENTS_DONE: ("deployments_done", "updates after which the new fleet serves"),
    DEPLOYMENTS_ROLLED_BACK: ("deployments_rolled_back", "updates that were rolled back"),
    ROLLBACKS_FAILED: ("rollbacks_failed", "updates that could not be rolled back"),
}
_PER_SECOND = {"Microseconds": 1e6, "Milliseconds": 1e3}


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
        self._backlog = {
            name: Gauge(f"polyhost_{known}", text, _ENDPOINT_LABELS, registry=self._registry)
            for name, (known, text) in _BACKLOG.items()
        }
        self._deployments = {
            name: Counter(f"polyhost_{known}", text, _ENDPOINT_LABELS, registry=self._registry)
            for name, (known, text) in _DEPLOYMENTS.items()
        }
        text = "share of the traffic that the fleet of an endpoint configuration gets"
        self._share = Gauge("polyhost_deployment_share", text, _CONFIG_LABELS, registry=self._registry)
        recorder.listen(on_metric=self._on_metric, on_removed=self._on_removed)

    def routes(self) -> list[Route]:
        """Return the route for Prometheus to scrape."""
        return [Route("/_polyhost/metrics", self._get)]

    async def _get(self, request: Request) -> Response:
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

    def _on_metric(self, metric: MetricValue) -> None:
        place = metric.place
        if place.container or place.kind is not PlaceKind.ENDPOINT:  # of one of several: the instance has the sum
            return
        labels = place.region, place.endpoint, place.variant, metric.model
        if counter := self._counters.get(metric.name):
            counter.labels(*labels).inc(metric.value)
        elif histogram := self._histograms.get(metric.name):
            histogram.labels(*labels).observe(metric.value / _PER_SECOND[metric.unit])
        elif backlog := self._backlog.get(metric.name):
            backlog.labels(place.region, place.endpoint).set(metric.value)
        elif deployments := self._deployments.get(metric.name):
            deployments.labels(place.region, place.endpoint).inc(metric.value)
        elif metric.name == DEPLOYMENT_SHARE:
            self._share.labels(place.region, place.endpoint, metric.config).set(metric.value)
        elif gauge := self._gauges.get(metric.name):
            gauge.labels(place.region, place.endpoint, place.variant, place.instance).set(metric.value)

    def _on_removed(self, place: Place) -> None:
        """Remove the series of an endpoint or instance; Prometheus itself keeps what it has scraped."""
        if place.kind is not PlaceKind.ENDPOINT:
            return
        known = {"region": place.region, "endpoint": place.endpoint}
        series: tuple[MetricWrapperBase, ...] = tuple(self._gauges.values())
        if place.instance:
            known["instance"] = place.instance
        else:
            series += (*self._counters.values(), *self._histograms.values(), *self._backlog.values())
            series += (*self._deployments.values(), self._share)
        for metric in series:
            metric.remove_by_labels(known)


def _snake_case(name: str) -> str:
    return (
        "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
        .lstrip("_")
        .replace("c_p_u_", "cpu_")
    )
