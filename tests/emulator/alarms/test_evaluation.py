"""States of alarms from datapoints: the examples of CloudWatch's user guide on missing data."""

from dataclasses import replace

import pytest

from polyhost.emulator.alarms.alarm import COMPARISONS, AlarmState, MetricAlarm, MetricSource, MissingData
from polyhost.emulator.alarms.evaluation import evaluate
from polyhost.emulator.alarms.samples import Metric, MetricSample, Samples

METRIC = Metric("AWS/SageMaker", "ModelLatency")
ALARM = MetricAlarm(
    source=MetricSource(METRIC, "Maximum"),
    statistic="Maximum",
    unit=None,
    period=60,
    comparison=COMPARISONS["GreaterThanThreshold"],
    threshold=0.5,
    evaluation_periods=3,
    datapoints_to_alarm=3,
)
NOW = 1_800_000_000.0


def sample(at: float, value: float, count: float = 1) -> MetricSample:
    return MetricSample(at, count, value * count, value, value, "None", ((value, count),))


def state(points: str, alarm: MetricAlarm, period_s: float = 60.0) -> str:
    """Evaluate points such as `0 - X - X`, the oldest first; a dash has no data, an X breaches."""
    samples = [
        sample(NOW - period_s * (number + 0.5), float(mark == "X"))
        for number, mark in enumerate(reversed(points.split()))
        if mark != "-"
    ]
    found = evaluate(alarm, Samples({METRIC: samples}), NOW, period_s, AlarmState.OK)
    return found.state if found is not None else "keep"


@pytest.mark.parametrize(
    ("points", "needed", "expected"),
    [  # missing, ignore, breaching, notBreaching
        ("0 - X - X", 3, ("OK", "OK", "OK", "OK")),
        ("- - - - 0", 3, ("OK", "OK", "OK", "OK")),
        ("- - - - -", 3, ("INSUFFICIENT_DATA", "keep", "ALARM", "OK")),
        ("0 X X - X", 3, ("ALARM", "ALARM", "ALARM", "ALARM")),
        ("- - X - -", 3, ("ALARM", "keep", "ALARM", "OK")),
        ("- - - - X", 3, ("keep", "keep", "ALARM", "OK")),
        ("- - - X -", 3, ("keep", "keep", "ALARM", "OK")),
        ("0 - X - X", 2, ("ALARM", "ALARM", "ALARM", "ALARM")),
        ("0 0 X 0 X", 2, ("ALARM", "ALARM", "ALARM", "ALARM")),
        ("0 - X - -", 2, ("OK", "OK", "ALARM", "OK")),
        ("- - - - 0", 2, ("OK", "OK", "ALARM", "OK")),
        ("- - - X -", 2, ("ALARM", "keep", "ALARM", "OK")),
    ],
)
def test_missing_data_is_treated_as_in_the_user_guide(points: str, needed: int, expected: tuple[str, ...]) -> None:
    alarm = replace(ALARM, datapoints_to_alarm=needed)
    treatments = (MissingData.MISSING, MissingData.IGNORE, MissingData.BREACHING, MissingData.NOT_BREACHING)
    assert tuple(state(points, replace(alarm, missing=missing)) for missing in treatments) == expected


def test_periods_may_be_scaled() -> None:
    assert state("0 X X X", ALARM, period_s=0.6) == "ALARM"


def test_periods_end_at_the_evaluation_and_include_their_start() -> None:
    alarm = replace(ALARM, evaluation_periods=1, datapoints_to_alarm=1, missing=MissingData.NOT_BREACHING)
    samples = Samples({METRIC: [sample(NOW, 1.0), sample(NOW - 180.001, 1.0)]})
    found = evaluate(alarm, samples, NOW, 60.0, AlarmState.ALARM)
    assert found is not None and found.state is AlarmState.OK
    found = evaluate(alarm, Samples({METRIC: [sample(NOW - 60, 1.0)]}), NOW, 60.0, AlarmState.OK)
    assert found is not None and found.state is AlarmState.ALARM


def test_reason_and_data_are_worded_as_awss() -> None:
    alarm = replace(ALARM, datapoints_to_alarm=2, unit="None")
    samples = Samples({METRIC: [sample(NOW - 150, 2.0), sample(NOW - 90, 0.0), sample(NOW - 30, 3.0, count=2)]})
    found = evaluate(alarm, samples, NOW, 60.0, AlarmState.OK)
    assert found is not None
    assert found.reason == (
        "Threshold Crossed: 2 out of the last 3 datapoints [3.0 (15/01/27 07:59:00), 2.0 (15/01/27 07:57:00)] were"
        " greater than the threshold (0.5) (minimum 2 datapoints for OK -> ALARM transition)."
    )
    assert found.data == {
        "version": "1.0",
        "queryDate": "2027-01-15T08:00:00.000+0000",
        "startDate": "2027-01-15T07:57:00.000+0000",
        "statistic": "Maximum",
        "unit": "None",
        "period": 60,
        "recentDatapoints": [2.0, 0.0, 3.0],
        "threshold": 0.5,
        "evaluatedDatapoints": [
            {"timestamp": "2027-01-15T07:59:00.000+0000", "sampleCount": 2, "value": 3.0},
            {"timestamp": "2027-01-15T07:58:00.000+0000", "sampleCount": 1, "value": 0.0},
            {"timestamp": "2027-01-15T07:57:00.000+0000", "sampleCount": 1, "value": 2.0},
        ],
    }


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        (MissingData.MISSING, "Insufficient Data: 1 datapoint was unknown."),
        (
            MissingData.BREACHING,
            "Threshold Crossed: no datapoints were received for 1 period and 1 missing datapoint was treated as"
            " [Breaching].",
        ),
    ],
)
def test_reason_without_data(missing: MissingData, reason: str) -> None:
    alarm = replace(ALARM, evaluation_periods=1, datapoints_to_alarm=1, missing=missing)
    found = evaluate(alarm, Samples({}), NOW, 60.0, AlarmState.OK)
    assert found is not None and found.reason == reason


def test_reason_for_ok() -> None:
    alarm = replace(ALARM, evaluation_periods=1, datapoints_to_alarm=1)
    found = evaluate(alarm, Samples({METRIC: [sample(NOW - 60, 0.25)]}), NOW, 60.0, AlarmState.ALARM)
    assert found is not None and found.reason == (
        "Threshold Crossed: 1 out of the last 1 datapoints [0.25 (15/01/27 07:59:00)] was not greater than the"
        " threshold (0.5) (minimum 1 datapoint for ALARM -> OK transition)."
    )


def test_a_percentile_of_few_values_may_be_ignored() -> None:
    alarm = replace(
        ALARM, statistic="p90", source=MetricSource(METRIC, "p90"), evaluation_periods=1, datapoints_to_alarm=1
    )
    few, enough = (Samples({METRIC: [sample(NOW - 1, 1.0, count)]}) for count in (99, 100))
    assert evaluate(alarm, few, NOW, 60.0, AlarmState.OK) is not None
    careful = replace(alarm, ignores_low_counts=True)
    assert evaluate(careful, few, NOW, 60.0, AlarmState.OK) is None
    assert evaluate(careful, enough, NOW, 60.0, AlarmState.OK) is not None
