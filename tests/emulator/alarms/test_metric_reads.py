"""What clients read of metrics: percentiles and other extended statistics."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.emulator.alarms.harness import NAMESPACE, AlarmHarness

NOW = datetime.now(UTC)
SPAN = {"StartTime": NOW - timedelta(hours=1), "EndTime": NOW + timedelta(hours=1)}
OF_VALUES, OF_SETS = "reads-of-values", "reads-of-sets"


@pytest.fixture(scope="module")
def metrics(alarms: AlarmHarness) -> AlarmHarness:
    """Put the values 1 to 10 of one metric, and of another a statistic set only."""
    at = NOW - timedelta(minutes=1)
    values = [{"MetricName": OF_VALUES, "Value": float(value), "Timestamp": at} for value in range(1, 11)]
    known = {"SampleCount": 3.0, "Sum": 6.0, "Minimum": 1.0, "Maximum": 3.0}
    sets = {"MetricName": OF_SETS, "StatisticValues": known, "Timestamp": at}
    alarms.cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=[*values, sets])
    return alarms


def statistics(metrics: AlarmHarness, name: str, *wanted: str, **members: Any) -> list[dict[str, float]]:
    found = metrics.cloudwatch.get_metric_statistics(
        Namespace=NAMESPACE, MetricName=name, Period=7200, ExtendedStatistics=[*wanted], **SPAN, **members
    )
    return [point["ExtendedStatistics"] for point in found["Datapoints"]]


def data(metrics: AlarmHarness, name: str, stat: str) -> list[float]:
    metric = {"Metric": {"Namespace": NAMESPACE, "MetricName": name}, "Period": 7200, "Stat": stat}
    queries = [{"Id": "m", "MetricStat": metric}]
    (found,) = metrics.cloudwatch.get_metric_data(MetricDataQueries=queries, **SPAN)["MetricDataResults"]
    return list(found["Values"])


def test_percentiles_of_values(metrics: AlarmHarness) -> None:
    assert statistics(metrics, OF_VALUES, "p50", "p90", "tc50") == [{"p50": 5.0, "p90": 9.0, "tc50": 5.0}]
    assert data(metrics, OF_VALUES, "p90") == [9.0]
    assert data(metrics, OF_VALUES, "Sum") == [55.0]


def test_a_statistic_set_has_no_percentiles(metrics: AlarmHarness) -> None:
    assert statistics(metrics, OF_SETS, "p50") == []
    assert data(metrics, OF_SETS, "p50") == []
    assert data(metrics, OF_SETS, "Average") == [2.0]


@pytest.mark.parametrize(
    ("read", "code", "words"),
    [
        (
            lambda metrics: statistics(metrics, OF_VALUES, "p101"),
            "ValidationError",
            "'p101' is no statistic; valid are",
        ),
        (lambda metrics: data(metrics, OF_VALUES, "Median"), "ValidationError", "'Median' is no statistic; valid are"),
        (
            lambda metrics: statistics(metrics, OF_VALUES, "p50", Statistics=["Sum"]),
            "InvalidParameterCombination",
            "but not both",
        ),
    ],
)
def test_what_cannot_be_computed_is_rejected(
    metrics: AlarmHarness, read: Callable[[AlarmHarness], object], code: str, words: str
) -> None:
    with pytest.raises(ClientError) as raised:
        read(metrics)
    error = raised.value.response["Error"]
    assert error["Code"] == code and words in error["Message"]
