"""What PutMetricAlarm rejects, and moto does not."""

from typing import Any

from polyhost.emulator.alarms.alarm import MissingData

_SHORT_PERIODS = (10, 20, 30)
_DAY_S, _WEEK_S, _HOUR_S = 86_400, 604_800, 3600
_NEEDED = ("ComparisonOperator", "EvaluationPeriods", "Threshold")
_OF_ONE_METRIC = ("Namespace", "MetricName", "Period", "Statistic", "ExtendedStatistic")
# Alarms of other kinds, and refinements that change when an alarm is evaluated.
_UNSUPPORTED = (
    *("ThresholdMetricId", "EvaluationCriteria", "EvaluationInterval", "EvaluationWindow", "WarmUpConfiguration"),
    "ActionConfiguration",
)


def check_metric_alarm(members: dict[str, Any]) -> None:
    """Raise ValueError if the members of a PutMetricAlarm make no alarm that the emulator can evaluate."""
    given = {name for name, value in members.items() if value not in (None, [], "")}
    if unsupported := [name for name in _UNSUPPORTED if name in given]:
        raise ValueError(f"The emulator does not support {', '.join(unsupported)} of PutMetricAlarm; leave it out.")
    if missing := [name for name in _NEEDED if name not in given]:
        raise ValueError(f"PutMetricAlarm of {members['AlarmName']} lacks {', '.join(missing)}.")
    if "Metrics" in given:
        if both := [name for name in _OF_ONE_METRIC if name in given]:
            raise ValueError(f"With Metrics, {', '.join(both)} must be left out.")
        periods = [query["MetricStat"]["Period"] for query in members["Metrics"] if query.get("MetricStat")]
    else:
        _check_metric(members, given)
        periods = [members["Period"]]
    for period in periods:
        _check_times(int(period), int(members["EvaluationPeriods"]), members.get("DatapointsToAlarm"))
    treatment = members.get("TreatMissingData")
    if treatment is not None and treatment not in list(MissingData):
        raise ValueError(
            f"Option {treatment} is not supported. Supported options for parameter TreatMissingData are"
            f" {', '.join(MissingData)}."
        )


def _check_metric(members: dict[str, Any], given: set[str]) -> None:
    if missing := [name for name in ("Namespace", "MetricName", "Period") if name not in given]:
        raise ValueError(f"PutMetricAlarm of {members['AlarmName']} lacks {', '.join(missing)}, or Metrics.")
    if ("Statistic" in given) is ("ExtendedStatistic" in given):
        raise ValueError("PutMetricAlarm needs either Statistic or ExtendedStatistic.")


def _check_times(period: int, evaluation_periods: int, datapoints: int | None) -> None:
    if period not in _SHORT_PERIODS and (period < 1 or period % 60):
        raise ValueError(f"Period is {period}; valid values are 10, 20, 30 and multiples of 60.")
    if datapoints is not None and not 1 <= datapoints <= evaluation_periods:
        raise ValueError(
            f"DatapointsToAlarm is {datapoints}; it must be at least 1 and not above EvaluationPeriods,"
            f" {evaluation_periods}."
        )
    longest = _WEEK_S if period >= _HOUR_S else _DAY_S
    if evaluation_periods < 1 or evaluation_periods * period > longest:
        raise ValueError(
            f"Metrics cannot be checked across more than {'a week' if longest == _WEEK_S else 'a day'}"
            f" (EvaluationPeriods * Period must be <= {longest})."
        )
