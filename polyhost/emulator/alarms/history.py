"""What DescribeAlarmHistory tells of an alarm."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_MOST_ITEMS = 1000  # of one alarm; AWS keeps them for two weeks
_MOST_DATA = 4095  # characters (botocore, HistoryData)


@dataclass(frozen=True)
class HistoryItem:
    """An item of an alarm's history."""

    alarm: str
    alarm_type: str
    kind: str  # ConfigurationUpdate, StateUpdate or Action
    summary: str
    data: dict[str, Any]
    at: datetime

    def members(self) -> dict[str, Any]:
        """Return the item as DescribeAlarmHistory describes it."""
        return {
            "AlarmName": self.alarm,
            "AlarmType": self.alarm_type,
            "Timestamp": self.at,
            "HistoryItemType": self.kind,
            "HistorySummary": self.summary[:255],
            "HistoryData": json.dumps(self.data)[:_MOST_DATA],
        }


def add_item(alarm: Any, kind: str, summary: str, data: dict[str, Any]) -> None:
    """Add an item to the history of an alarm of moto's."""
    # moto's times have no time zone.
    item = HistoryItem(alarm.name, alarm_type(alarm), kind, summary, data, datetime.now(UTC).replace(tzinfo=None))
    items = history_of(alarm)
    items.append(item)
    del items[:-_MOST_ITEMS]


def history_of(alarm: Any) -> list[HistoryItem]:
    """Return the alarm's items, the oldest first. The list is the alarm's own."""
    items: list[HistoryItem] = vars(alarm).setdefault("history_items", [])
    return items


def alarm_type(alarm: Any) -> str:
    """Return CompositeAlarm or MetricAlarm."""
    return "MetricAlarm" if alarm.rule is None else "CompositeAlarm"


def state_members(value: str, reason: str, data: str | None) -> dict[str, Any]:
    """Return a state as a StateUpdate describes it."""
    members: dict[str, Any] = {"stateValue": value, "stateReason": reason}
    parsed = json.loads(data) if data else None
    return members | ({"stateReasonData": parsed} if parsed else {})


def select(
    alarms: Sequence[Any],
    kind: str | None,
    types: Sequence[str],
    start: datetime | None,
    end: datetime | None,
    ascending: bool,
) -> list[HistoryItem]:
    """Return the items that DescribeAlarmHistory asks for."""
    found = [
        item
        for alarm in alarms
        for item in history_of(alarm)
        if kind in (None, item.kind)
        and item.alarm_type in types
        and (start is None or item.at >= start)
        and (end is None or item.at <= end)
    ]
    return sorted(found, key=lambda item: item.at, reverse=not ascending)
