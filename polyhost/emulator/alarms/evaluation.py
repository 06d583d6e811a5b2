"""The evaluation of an alarm on metrics.

CloudWatch user guide, "Configuring how CloudWatch alarms treat missing data". Periods are windows that end at the time
of the evaluation. More of them are read than are evaluated: older ones stand for those without data.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from polyhost.emulator.alarms.alarm import AlarmState, Datapoint, MetricAlarm, MissingData
from polyhost.emulator.alarms.samples import Samples

_FURTHER_PERIODS = 2  # AWS's examples read five periods for three
_MOST_SHOWN = 20  # datapoints in a StateReasonData, which has 4,000 characters (botocore)


@dataclass(frozen=True)
class Evaluation:
    """A state, and AWS's StateReason and StateReasonData for it."""

    state: AlarmState
    reason: str
    data: dict[str, Any]

    def json(self) -> str:
        return json.dumps(self.data)


def periods_read(alarm: MetricAlarm) -> int:
    """Return how many periods an evaluation reads."""
    return alarm.evaluation_periods + _FURTHER_PERIODS


def evaluate(
    alarm: MetricAlarm, samples: Samples, now: float, period_s: float, current: AlarmState
) -> Evaluation | None:
    """Evaluate at a time, with periods of these seconds. Return None if the alarm is to keep its state."""
    newest_first = _newest_first(alarm, samples, now, period_s)
    known = [point for point in newest_first if point is not None][: alarm.evaluation_periods]
    if alarm.ignores_low_counts and any(point.count < _enough(alarm) for point in known):
        return None
    state = _state(alarm, newest_first, known)
    if state is None:
        return None
    return Evaluation(state, _reason(alarm, state, known, current), _data(alarm, known, now, period_s))


def latest_value(alarm: MetricAlarm, samples: Samples, now: float, period_s: float) -> float | None:
    """Return the value of the newest evaluated period that has one."""
    evaluated = _newest_first(alarm, samples, now, period_s)[: alarm.evaluation_periods]
    return next((point.value for point in evaluated if point is not None), None)


def _newest_first(alarm: MetricAlarm, samples: Samples, now: float, period_s: float) -> list[Datapoint | None]:
    starts = [now - period_s * (number + 1) for number in range(periods_read(alarm))]
    return [alarm.source.datapoint(samples, start, start + period_s) for start in starts]


def _state(
    alarm: MetricAlarm, newest_first: Sequence[Datapoint | None], known: Sequence[Datapoint]
) -> AlarmState | None:
    breaching = sum(alarm.breaches(point.value) for point in known)
    lacking = alarm.evaluation_periods - len(known)
    if not known and alarm.missing is MissingData.MISSING:
        return AlarmState.INSUFFICIENT_DATA
    if lacking and alarm.missing is MissingData.BREACHING:
        breaching += lacking
    if breaching >= alarm.datapoints_to_alarm:
        return AlarmState.ALARM
    if not lacking or alarm.missing in (MissingData.BREACHING, MissingData.NOT_BREACHING):
        return AlarmState.OK
    if any(not alarm.breaches(point.value) for point in known):
        return AlarmState.OK
    # Only breaching points, and too few. They count if even the oldest cannot become one of those that are not enough.
    oldest = max((number for number, point in enumerate(newest_first, 1) if point is not None), default=0)
    if alarm.missing is MissingData.MISSING and oldest >= alarm.datapoints_to_alarm:
        return AlarmState.ALARM
    return None


def _enough(alarm: MetricAlarm) -> float:
    """Return the values that a percentile needs to mean something ("Percentile-based alarms and low data samples")."""
    name = alarm.statistic or ""
    if not name.startswith("p"):
        return 0
    share = float(name[1:]) / 100
    return round(10 / min(share, 1 - share), 6) if 0 < share < 1 else 0


def _reason(alarm: MetricAlarm, state: AlarmState, known: Sequence[Datapoint], current: AlarmState) -> str:
    periods = alarm.evaluation_periods
    if state is AlarmState.INSUFFICIENT_DATA:
        return f"Insufficient Data: {_counted(periods, 'datapoint')} {_was(periods)} unknown."
    if not known:
        treated = "Breaching" if alarm.missing is MissingData.BREACHING else "NonBreaching"
        return (
            f"Threshold Crossed: no datapoints were received for {_counted(periods, 'period')} and"
            f" {_counted(periods, 'missing datapoint')} {_was(periods)} treated as [{treated}]."
        )
    raised = state is AlarmState.ALARM
    deciding = [point for point in known if alarm.breaches(point.value) is raised]
    if not deciding:  # what is missing decides
        deciding = list(known)
    values = ", ".join(f"{point.value} ({_day(point.at)})" for point in deciding)
    needed = alarm.datapoints_to_alarm if raised else periods - alarm.datapoints_to_alarm + 1
    crossed = f"{_was(len(deciding))} {'' if raised else 'not '}{alarm.comparison.words} the threshold"
    transition = f"{AlarmState.OK} -> {AlarmState.ALARM}" if raised else f"{AlarmState.ALARM} -> {AlarmState.OK}"
    return (
        f"Threshold Crossed: {len(deciding)} out of the last {periods} datapoints [{values}] {crossed}"
        f" ({alarm.threshold}) (minimum {_counted(needed, 'datapoint')} for {transition} transition)."
    )


def _data(alarm: MetricAlarm, known: Sequence[Datapoint], now: float, period_s: float) -> dict[str, Any]:
    data: dict[str, Any] = {"version": "1.0", "queryDate": timestamp(now)}
    if known:
        data["startDate"] = timestamp(known[-1].at)
    if alarm.statistic is not None:
        data["statistic"] = alarm.statistic
    if alarm.unit is not None:
        data["unit"] = alarm.unit
    return data | {
        "period": alarm.period,
        "recentDatapoints": [point.value for point in reversed(known[:_MOST_SHOWN])],
        "threshold": alarm.threshold,
        "evaluatedDatapoints": [
            {"timestamp": timestamp(point.at), "sampleCount": point.count, "value": point.value}
            for point in known[:_MOST_SHOWN]
        ],
    }


def timestamp(seconds: float) -> str:
    """Return a time as alarms write it: 2026-11-27T10:52:36.000+0000."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "+0000")


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%d/%m/%y %H:%M:%S")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"
