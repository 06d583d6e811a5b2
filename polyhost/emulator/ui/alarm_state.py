"""Alarms as the dashboard shows them."""

from datetime import UTC, datetime
from typing import Any

from polyhost.emulator.alarms.alarm import COMPARISONS
from polyhost.emulator.alarms.history import alarm_type
from polyhost.emulator.alarms.service import Alarms


def alarm_states(alarms: Alarms) -> list[dict[str, Any]]:
    """Describe the emulator's alarms in JSON, by region and name."""
    with alarms.lock:
        found = [_describe(region, alarm) for region in alarms.regions() for alarm in alarms.of_region(region)]
    return sorted(found, key=lambda alarm: (alarm["region"], alarm["name"]))


def _describe(region: str, alarm: Any) -> dict[str, Any]:
    since = getattr(alarm, "state_transitioned_timestamp", None) or alarm.state_updated_timestamp
    return {
        "name": alarm.name,
        "region": region,
        "type": alarm_type(alarm),
        "condition": alarm.rule or _condition(alarm),
        "state": alarm.state_value,
        "reason": alarm.state_reason,
        "since": _timestamp(since),
        "actions_enabled": alarm.actions_enabled,
    }


def _condition(alarm: Any) -> str:
    """Describe what a metric alarm compares."""
    words = COMPARISONS[alarm.comparison_operator].words
    if alarm.metric_data_queries:
        queries = alarm.metric_data_queries
        subject = ", ".join(f"{query.id} = {query.expression}" for query in queries if query.expression)
        subject = subject or ", ".join(query.metric_stat.metric.metric_name for query in queries)
        period = next(query.metric_stat.period for query in queries if query.metric_stat is not None)
    else:
        dimensions = ", ".join(f"{item.name}={item.value}" for item in alarm.dimensions)
        subject = f"{alarm.statistic or alarm.extended_statistic} of {alarm.metric_name}"
        subject += f" ({dimensions})" if dimensions else ""
        period = alarm.period
    number = alarm.datapoints_to_alarm or alarm.evaluation_periods
    times = f"{number} of {alarm.evaluation_periods} periods" if alarm.evaluation_periods > 1 else "a period"
    return f"{subject} {words} {alarm.threshold:g} in {times} of {period} s"


def _timestamp(at: datetime) -> float:
    return at.replace(tzinfo=UTC).timestamp()  # moto's times have no time zone
