"""What alarms publish to topics of SNS (CloudWatch user guide, "Notifying users on alarm changes")."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import botocore.session

from polyhost.emulator.alarms.evaluation import timestamp
from polyhost.emulator.config import ACCOUNT

_MOST_SUBJECT = 100  # characters (SNS API reference, Publish)


@dataclass(frozen=True)
class StateChange:
    """A change of an alarm's state; `alarm` is moto's, `children` are the alarms that caused a composite one's."""

    region: str
    alarm: Any
    old: str
    new: str
    reason: str
    at: float
    children: tuple[Any, ...] = ()

    @property
    def actions(self) -> list[str]:
        """The ARNs of what the new state calls for."""
        if not self.alarm.actions_enabled:
            return []
        by_state = {
            "ALARM": self.alarm.alarm_actions,
            "OK": self.alarm.ok_actions,
            "INSUFFICIENT_DATA": self.alarm.insufficient_data_actions,
        }
        return list(by_state[self.new] or ())


def subject(change: StateChange) -> str:
    """Return the subject of a notification."""
    return f'{change.new}: "{change.alarm.name}" in {region_name(change.region)}'[:_MOST_SUBJECT]


def message(change: StateChange) -> dict[str, Any]:
    """Return the message of a notification, with AWS's members in AWS's order."""
    alarm = change.alarm
    described = {
        "AlarmName": alarm.name,
        "AlarmDescription": alarm.description,
        "AWSAccountId": ACCOUNT,
        "AlarmConfigurationUpdatedTimestamp": alarm.configuration_updated_timestamp.isoformat(timespec="milliseconds")
        + "+0000",
        "NewStateValue": change.new,
        "NewStateReason": change.reason,
        "StateChangeTime": timestamp(change.at),
        "Region": region_name(change.region),
        "AlarmArn": alarm.alarm_arn,
        "OldStateValue": change.old,
        "OKActions": list(alarm.ok_actions or ()),
        "AlarmActions": list(alarm.alarm_actions or ()),
        "InsufficientDataActions": list(alarm.insufficient_data_actions or ()),
    }
    if alarm.rule is not None:
        children = [
            {"Arn": child.alarm_arn, "State": {"Value": child.state_value, "Timestamp": timestamp(change.at)}}
            for child in change.children
        ]
        return described | {"AlarmRule": alarm.rule, "TriggeringChildren": children}
    return described | {"Trigger": _trigger(alarm)}


def _trigger(alarm: Any) -> dict[str, Any]:
    how = {
        "Period": int(alarm.period) if alarm.period else None,
        "EvaluationPeriods": int(alarm.evaluation_periods),
        "DatapointsToAlarm": int(alarm.datapoints_to_alarm or alarm.evaluation_periods),
        "ComparisonOperator": alarm.comparison_operator,
        "Threshold": float(alarm.threshold),
        "TreatMissingData": alarm.treat_missing_data or "missing",
        "EvaluateLowSampleCountPercentile": alarm.evaluate_low_sample_count_percentile or "",
    }
    if alarm.metric_data_queries:
        return how | {"Metrics": [_query(query) for query in alarm.metric_data_queries]}
    statistic = (
        {"StatisticType": "Statistic", "Statistic": alarm.statistic.upper()}
        if alarm.statistic
        else {"StatisticType": "ExtendedStatistic", "ExtendedStatistic": alarm.extended_statistic}
    )
    metric = {"MetricName": alarm.metric_name, "Namespace": alarm.namespace, **statistic, "Unit": alarm.unit}
    return metric | {"Dimensions": _dimensions(alarm.dimensions)} | how


def _query(query: Any) -> dict[str, Any]:
    described: dict[str, Any] = {"Id": query.id, "Label": query.label, "ReturnData": query.return_data is not False}
    if query.metric_stat is None:
        return described | {"Expression": query.expression}
    stat = query.metric_stat
    metric = {
        "Dimensions": _dimensions(stat.metric.dimensions),
        "MetricName": stat.metric.metric_name,
        "Namespace": stat.metric.namespace,
    }
    return described | {"MetricStat": {"Metric": metric, "Period": int(stat.period), "Stat": stat.stat}}


def _dimensions(dimensions: Any) -> list[dict[str, str]]:
    return [{"value": item.value, "name": item.name} for item in dimensions]


@lru_cache
def region_name(region: str) -> str:
    """Return what AWS calls a region in words, such as US East (N. Virginia)."""
    data = botocore.session.get_session().get_data("endpoints")
    known = {name: found["description"] for part in data["partitions"] for name, found in part["regions"].items()}
    return str(known.get(region, region))
