"""Percentiles and other extended statistics for clients that read metrics: moto computes the five simple ones only."""

from collections.abc import Sequence
from typing import Any

from moto.cloudwatch.exceptions import InvalidParameterCombination, ValidationError
from moto.cloudwatch.models import Statistics
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult

from polyhost.emulator.alarms.samples import sample_of
from polyhost.emulator.alarms.statistics import SIMPLE, Statistic, statistic

_MOTOS_STATISTICS = CloudWatchResponse.get_metric_statistics
_MOTOS_DATA = CloudWatchResponse.get_metric_data
_MOTOS_STATISTIC = Statistics.get_statistics_for_type


def add_to_cloudwatch() -> None:
    """Give moto's CloudWatch the operations."""
    for name, operation in (
        ("get_metric_statistics", _get_metric_statistics),
        ("get_metric_data", _get_metric_data),
    ):
        setattr(CloudWatchResponse, name, operation)
    setattr(Statistics, "get_statistics_for_type", _statistic_of)  # noqa: B010 - mypy rejects the assignment


def _get_metric_statistics(response: CloudWatchResponse) -> Any:
    names = response._get_param("ExtendedStatistics") or []
    if not names:
        return _MOTOS_STATISTICS(response)
    if response._get_param("Statistics"):
        raise InvalidParameterCombination("Must specify either Statistics or ExtendedStatistics, but not both")
    wanted = {name: _known(name) for name in names}
    result: Any = _MOTOS_STATISTICS(response).result
    points = [
        {"Timestamp": point.timestamp, "Unit": point.unit, "ExtendedStatistics": found}
        for point in result["Datapoints"]
        if (found := _computed(wanted, point))
    ]
    return ActionResult({"Label": result["Label"], "Datapoints": points})


def _get_metric_data(response: CloudWatchResponse) -> Any:
    for query in response._get_params().get("MetricDataQueries") or []:
        if "MetricStat" in query:
            _known(query["MetricStat"]["Stat"])
    result: Any = _MOTOS_DATA(response).result
    for item in result["MetricDataResults"]:
        known = [pair for pair in zip(item["timestamps"], item["values"], strict=True) if pair[1] is not None]
        item["timestamps"], item["values"] = [at for at, _ in known], [value for _, value in known]
    return ActionResult(result)


def _statistic_of(self: Statistics, name: str) -> Any:
    """Return a statistic of a period's values, in place of moto's method."""
    return _MOTOS_STATISTIC(self, name) if name in SIMPLE else statistic(name)(_samples(self))


def _known(name: str) -> Statistic:
    try:
        return statistic(name)
    except ValueError as error:
        raise ValidationError(f"{error}.") from None


def _computed(wanted: dict[str, Statistic], point: Statistics) -> dict[str, float]:
    """Return the statistics of a period; those are missing for which only a set of its values is known."""
    samples = _samples(point)
    found = {name: compute(samples) for name, compute in wanted.items()}
    return {name: value for name, value in found.items() if value is not None}


def _samples(point: Statistics) -> Sequence[Any]:
    return [sample_of(datum) for datum in point.metric_data]
