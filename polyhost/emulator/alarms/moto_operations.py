"""Operations on alarms, in place of moto's or where moto has none: moto never evaluates an alarm."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any

from flask import request as flask_request
from moto.cloudwatch.exceptions import InvalidFormat, InvalidParameterValue, ResourceNotFound, ValidationError
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult, EmptyResult

from polyhost.emulator.alarms.alarm import AlarmState, metric_alarm
from polyhost.emulator.alarms.checks import check_metric_alarm
from polyhost.emulator.alarms.history import add_item, alarm_type, select, state_members
from polyhost.emulator.alarms.rules import AlarmRule
from polyhost.emulator.alarms.service import ALARMS, Alarms

_MOTOS_PUT = CloudWatchResponse.put_metric_alarm
_MOTOS_SET_STATE = CloudWatchResponse.set_alarm_state
_INITIAL_REASON = "Unchecked: Initial alarm creation"
_STATE_ATTRIBUTES = (
    *("state_value", "state_reason", "state_reason_data", "state_updated_timestamp"),
    *("state_transitioned_timestamp", "history", "history_items"),
)
_TYPES = ("MetricAlarm", "CompositeAlarm")
_PAGE_SIZE = 100


def add_to_cloudwatch() -> None:
    """Give moto's CloudWatch the operations."""
    for name, operation in (
        ("put_metric_alarm", _put_metric_alarm),
        ("put_composite_alarm", _put_composite_alarm),
        ("set_alarm_state", _set_alarm_state),
        ("describe_alarms", _describe_alarms),
        ("describe_alarm_history", _describe_alarm_history),
    ):
        setattr(CloudWatchResponse, name, operation)


def _put_metric_alarm(response: CloudWatchResponse) -> Any:
    with _invalid():
        check_metric_alarm(response._get_params())
    return _put(response, metric_alarm)


def _put_composite_alarm(response: CloudWatchResponse) -> Any:
    if response._get_param("ActionsSuppressor"):
        raise ValidationError("The emulator does not support ActionsSuppressor of PutCompositeAlarm; leave it out.")
    name = response._get_param("AlarmName")
    with _invalid():
        rule = AlarmRule(response._get_param("AlarmRule"))
    known = response.cloudwatch_backend.alarms
    if name in rule.names:
        raise ValidationError(f"AlarmRule of {name} must not contain the alarm itself.")
    if missing := [item for item in rule.names if item not in known]:
        raise ValidationError(f"AlarmRule of {name} contains alarms that do not exist: {', '.join(missing)}.")
    return _put(response, lambda alarm: AlarmRule(alarm.rule))


def _put(response: CloudWatchResponse, parse: Callable[[Any], Any]) -> Any:
    """Put an alarm; one that exists keeps its state (CloudWatch API reference, PutMetricAlarm)."""
    backend, name = response.cloudwatch_backend, response._get_param("AlarmName")
    alarms = _alarms()
    with alarms.lock if alarms is not None else nullcontext():
        before = backend.alarms.get(name)
        result = _MOTOS_PUT(response)
        alarm = backend.alarms[name]
        try:
            meaning = parse(alarm)
        except ValueError as error:
            del backend.alarms[name]
            if before is not None:
                backend.alarms[name] = before
            raise ValidationError(str(error)) from None
        if before is not None:
            vars(alarm).update({key: vars(before)[key] for key in _STATE_ATTRIBUTES if key in vars(before)})
        else:
            alarm.state_value, alarm.state_reason = AlarmState.INSUFFICIENT_DATA.value, _INITIAL_REASON
            vars(alarm)["state_transitioned_timestamp"] = alarm.state_updated_timestamp
        done = "updated" if before is not None else "created"
        add_item(alarm, "ConfigurationUpdate", f'Alarm "{name}" {done}', {"version": "1.0", "type": done.title()})
        if alarms is not None:
            alarms.claim(alarm, meaning)
    return result


def _set_alarm_state(response: CloudWatchResponse) -> Any:
    alarms = _alarms()
    if alarms is None:
        return _MOTOS_SET_STATE(response)
    backend, name = response.cloudwatch_backend, response._get_param("AlarmName")
    if (alarm := backend.alarms.get(name)) is None:
        raise ResourceNotFound("")
    data = response._get_param("StateReasonData")
    try:
        state_members("", "", data)
    except ValueError:
        raise InvalidFormat("StateReasonData is not valid JSON.") from None
    if (state := response._get_param("StateValue")) not in list(AlarmState):
        return _MOTOS_SET_STATE(response)  # which rejects it
    alarms.set_state(response.region, alarm, state, response._get_param("StateReason"), data)
    return EmptyResult()


def _describe_alarms(response: CloudWatchResponse) -> Any:
    """Filter by all of the members; without AlarmTypes there are metric alarms only (botocore, DescribeAlarms)."""
    members = response._get_params()
    types = members.get("AlarmTypes") or _TYPES[:1]
    names, state = members.get("AlarmNames"), members.get("StateValue")
    found = [
        alarm
        for alarm in list(response.cloudwatch_backend.alarms.values())
        if alarm_type(alarm) in types
        and (not names or alarm.name in names)
        and alarm.name.startswith(members.get("AlarmNamePrefix") or "")
        and state in (None, alarm.state_value)
        and any(action.startswith(members.get("ActionPrefix") or "") for action in [*alarm.alarm_actions, ""])
    ]
    page, token = _page(sorted(found, key=lambda alarm: str(alarm.name)), members)
    result: dict[str, Any] = {f"{kind}s": [alarm for alarm in page if alarm_type(alarm) == kind] for kind in _TYPES}
    return ActionResult(result | ({"NextToken": token} if token else {}))


def _describe_alarm_history(response: CloudWatchResponse) -> Any:
    members = response._get_params()
    name = members.get("AlarmName")
    alarms = [alarm for alarm in response.cloudwatch_backend.alarms.values() if name in (None, alarm.name)]
    items = select(
        alarms,
        members.get("HistoryItemType"),
        members.get("AlarmTypes") or _TYPES[:1],
        _naive(members.get("StartDate")),
        _naive(members.get("EndDate")),
        members.get("ScanBy") == "TimestampAscending",
    )
    page, token = _page(items, members)
    result = {"AlarmHistoryItems": [item.members() for item in page]}
    return ActionResult(result | ({"NextToken": token} if token else {}))


def _page(items: list[Any], members: dict[str, Any]) -> tuple[list[Any], str | None]:
    """Return a page of the items, and the token of the next one."""
    token = members.get("NextToken") or "0"
    if not token.isdigit():
        raise InvalidParameterValue(f"NextToken {token!r} is invalid.")
    start, size = int(token), int(members.get("MaxRecords") or _PAGE_SIZE)
    return items[start : start + size], str(start + size) if start + size < len(items) else None


def _naive(at: datetime | None) -> datetime | None:
    """Return a time as moto has them: UTC, without a time zone."""
    return at.astimezone(UTC).replace(tzinfo=None) if at is not None and at.tzinfo is not None else at


def _alarms() -> Alarms | None:
    alarms: Alarms | None = flask_request.environ.get(ALARMS)
    return alarms


@contextmanager
def _invalid() -> Iterator[None]:
    """Turn ValueError into moto's ValidationError."""
    try:
        yield
    except ValueError as error:
        raise ValidationError(str(error)) from None
