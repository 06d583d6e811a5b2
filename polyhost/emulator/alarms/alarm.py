"""Alarms on metrics: what they compare, and how."""

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from polyhost.emulator.alarms.metric_math import MetricMath
from polyhost.emulator.alarms.samples import Metric, Samples, sorted_dimensions
from polyhost.emulator.alarms.statistics import statistic


class AlarmState(StrEnum):
    """States of an alarm (botocore, StateValue)."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


class MissingData(StrEnum):
    """What stands for a period without data (botocore, TreatMissingData)."""

    BREACHING = "breaching"
    NOT_BREACHING = "notBreaching"
    IGNORE = "ignore"
    MISSING = "missing"


class Comparison(NamedTuple):
    """A comparison operator, and its words in a StateReason."""

    breaches: Callable[[float, float], bool]
    words: str


COMPARISONS = {
    "GreaterThanOrEqualToThreshold": Comparison(operator.ge, "greater than or equal to"),
    "GreaterThanThreshold": Comparison(operator.gt, "greater than"),
    "LessThanThreshold": Comparison(operator.lt, "less than"),
    "LessThanOrEqualToThreshold": Comparison(operator.le, "less than or equal to"),
}


@dataclass(frozen=True)
class Datapoint:
    """The value of a period; `at` is its start in seconds since 1970."""

    at: float
    value: float
    count: float


class DatapointSource(Protocol):
    """Where an alarm's datapoints come from."""

    @property
    def metrics(self) -> Iterable[Metric]:
        """The metrics that it reads."""

    def datapoint(self, samples: Samples, start: float, end: float) -> Datapoint | None:
        """Return the datapoint of a period, if it has data."""


class MetricSource:
    """A statistic of one metric. Raises ValueError for an unknown statistic."""

    def __init__(self, metric: Metric, statistic_name: str, unit: str | None = None) -> None:
        self._metric = metric
        self._compute = statistic(statistic_name)
        self._unit = unit

    @property
    def metrics(self) -> Iterable[Metric]:
        return (self._metric,)

    def datapoint(self, samples: Samples, start: float, end: float) -> Datapoint | None:
        found = samples.window(self._metric, start, end, self._unit)
        value = self._compute(found) if found else None
        return None if value is None else Datapoint(start, value, sum(sample.count for sample in found))


class MathSource:
    """An expression over metrics, by their ids; `expressions` come in the order in which they need one another."""

    def __init__(self, metrics: Mapping[str, MetricSource], expressions: Mapping[str, MetricMath], result: str) -> None:
        self._metrics = metrics
        self._expressions = expressions
        self._result = result

    @property
    def metrics(self) -> Iterable[Metric]:
        return [metric for source in self._metrics.values() for metric in source.metrics]

    def datapoint(self, samples: Samples, start: float, end: float) -> Datapoint | None:
        found = {name: source.datapoint(samples, start, end) for name, source in self._metrics.items()}
        values = {name: point.value if point is not None else None for name, point in found.items()}
        for name, expression in self._expressions.items():
            values[name] = expression.value(values)
        value = values[self._result]
        return None if value is None else Datapoint(start, value, sum(point.count for point in found.values() if point))


@dataclass(frozen=True)
class MetricAlarm:
    """An alarm as PutMetricAlarm describes it. `statistic` is None for an expression."""

    source: DatapointSource
    statistic: str | None
    unit: str | None
    period: int
    comparison: Comparison
    threshold: float
    evaluation_periods: int
    datapoints_to_alarm: int
    missing: MissingData = MissingData.MISSING
    ignores_low_counts: bool = False

    @property
    def evaluated_every(self) -> int:
        """The seconds between two evaluations: ten for high resolution (CloudWatch user guide)."""
        return 10 if self.period < 60 else 60

    def breaches(self, value: float) -> bool:
        return self.comparison.breaches(value, self.threshold)


def metric_alarm(alarm: Any) -> MetricAlarm:
    """Translate an alarm of moto's. Raises ValueError for what the emulator does not evaluate."""
    period, source, unit = alarm.period, _source(alarm), alarm.unit
    if alarm.metric_data_queries:
        period = next(item.metric_stat.period for item in alarm.metric_data_queries if item.metric_stat is not None)
    if alarm.comparison_operator not in COMPARISONS:
        raise ValueError(f"{alarm.comparison_operator} is for anomaly detection, which the emulator does not have")
    return MetricAlarm(
        source=source,
        statistic=None if alarm.metric_data_queries else alarm.statistic or alarm.extended_statistic,
        unit=unit,
        period=int(period),
        comparison=COMPARISONS[alarm.comparison_operator],
        threshold=float(alarm.threshold),
        evaluation_periods=int(alarm.evaluation_periods),
        datapoints_to_alarm=int(alarm.datapoints_to_alarm or alarm.evaluation_periods),
        missing=MissingData(alarm.treat_missing_data or MissingData.MISSING),
        ignores_low_counts=alarm.evaluate_low_sample_count_percentile == "ignore",
    )


def _source(alarm: Any) -> DatapointSource:
    if alarm.metric_data_queries:
        return _math_source(alarm.metric_data_queries)
    metric = Metric(alarm.namespace, alarm.metric_name, sorted_dimensions(alarm.dimensions))
    return MetricSource(metric, alarm.statistic or alarm.extended_statistic, alarm.unit)


def _math_source(queries: Any) -> DatapointSource:
    metrics: dict[str, MetricSource] = {}
    expressions: dict[str, MetricMath] = {}
    for query in queries:
        if (stat := query.metric_stat) is not None:
            metric = Metric(stat.metric.namespace, stat.metric.metric_name, sorted_dimensions(stat.metric.dimensions))
            metrics[query.id] = MetricSource(metric, stat.stat, stat.unit)
        else:
            expressions[query.id] = MetricMath(query.expression or "")
    periods = {int(query.metric_stat.period) for query in queries if query.metric_stat is not None}
    if len(periods) != 1:
        raise ValueError(f"the metrics of an expression must have one period, but have {sorted(periods)}")
    returned = [query.id for query in queries if query.return_data is not False]
    if len(returned) != 1:
        raise ValueError(f"exactly one of Metrics must have ReturnData true, but {returned} have")
    return MathSource(metrics, _in_order(expressions, set(metrics)), returned[0])


def _in_order(expressions: Mapping[str, MetricMath], known: set[str]) -> dict[str, MetricMath]:
    ordered: dict[str, MetricMath] = {}
    while len(ordered) < len(expressions):
        ready = [name for name, item in expressions.items() if name not in ordered and item.names <= known]
        if not ready:
            missing = {name for item in expressions.values() for name in item.names} - known
            raise ValueError(f"the expressions need {', '.join(sorted(missing))}, which Metrics does not have")
        ordered |= {name: expressions[name] for name in ready}
        known |= set(ready)
    return ordered
