"""What a running container has measured: the text of its /metrics, in Prometheus' format."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from polyhost.planning.errors import PlanningError
from polyhost.planning.profiles import PartialProfile

_MEMORY = "polyhost_worker_memory_bytes"
_PREDICT_SECONDS, _PREDICTIONS = "polyhost_predict_seconds_sum", "polyhost_predict_seconds_count"
_LOAD_SECONDS, _LOADS = "polyhost_load_seconds_total", "polyhost_loads_total"
_DOWNLOAD_SECONDS, _DOWNLOADS = "polyhost_download_seconds_total", "polyhost_downloads_total"


@dataclass(frozen=True)
class Measured:
    """Figures of a container: what each model takes, and how often each was called."""

    profiles: Mapping[str, PartialProfile]
    calls: Mapping[str, float]


def read(text: str, where: str) -> Measured:
    """Read the text of /metrics. Raises PlanningError, which names `where` it came from."""
    series = _series(text, where)
    models = set(series[_PREDICTIONS]) | set(series[_LOADS])
    if not models:
        raise PlanningError(f"{where} has no figures of models; the native front end has, once models were called")
    download_s = _mean(series, _DOWNLOAD_SECONDS, _DOWNLOADS, "")  # of all models alike: there are no names
    return Measured(
        {model: _profile(series, model, download_s) for model in models},
        {model: count for model, count in series[_PREDICTIONS].items() if count},
    )


def _series(text: str, where: str) -> Mapping[str, dict[str, float]]:
    """Return the values by name and model; of those with phases, the total. Without a model: under the empty name."""
    try:
        from prometheus_client.parser import text_string_to_metric_families
    except ImportError as error:
        raise PlanningError(f"--metrics needs {error.name}: pip install 'polyhost[serve]'") from error

    series: dict[str, dict[str, float]] = defaultdict(dict)
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.labels.get("phase", "total") == "total":
                    series[sample.name][sample.labels.get("model", "")] = sample.value
    except ValueError as error:
        raise PlanningError(f"{where} is not in Prometheus' format: {error}") from error
    return series


def _profile(series: Mapping[str, dict[str, float]], model: str, download_s: float | None) -> PartialProfile:
    memory = series[_MEMORY].get(model)
    return PartialProfile(
        memory_bytes=int(memory) if memory else None,
        cold_s=_mean(series, _LOAD_SECONDS, _LOADS, model),
        hot_s=_mean(series, _PREDICT_SECONDS, _PREDICTIONS, model),
        download_s=download_s,
    )


def _mean(series: Mapping[str, dict[str, float]], total: str, count: str, model: str) -> float | None:
    number = series[count].get(model)
    return series[total][model] / number if number and model in series[total] else None
