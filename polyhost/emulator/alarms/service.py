"""The alarms of an emulator: their states, and what happens when one changes."""

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC
from functools import lru_cache
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from polyhost.emulator import aws_clients
from polyhost.emulator.alarms.alarm import AlarmState, MetricAlarm, metric_alarm
from polyhost.emulator.alarms.history import add_item, state_members
from polyhost.emulator.alarms.notifications import StateChange, message, subject
from polyhost.emulator.alarms.rules import AlarmRule
from polyhost.emulator.config import ACCOUNT
from polyhost.emulator.telemetry.recorder import EventKind, Place, Recorder

ALARMS = "polyhost.alarms"  # the key of a WSGI request for the emulator's alarms
EVALUATED = ("evaluated_by", "meaning", "evaluated")  # attributes of an alarm of moto's that this emulator evaluates

logger = logging.getLogger(__name__)


class Alarms:
    """Changes states, and carries out the actions, in the order of the changes. `url` is the emulator's own.

    Emulators in one process share moto's alarms: each evaluates those that were put through it. `save` is called after
    a change of a state. Actions that are scaling policies are carried out elsewhere; `has_policy` says, by region and
    action, whether there is one.
    """

    def __init__(
        self,
        recorder: Recorder,
        url: str,
        save: Callable[[], None] = lambda: None,
        has_policy: Callable[[str, str], bool] = lambda _region, _action: False,
    ) -> None:
        self.lock = threading.RLock()  # moto's threads and the evaluator change the same alarms
        self._recorder = recorder
        self._save = save
        self._has_policy = has_policy
        self._changes: asyncio.Queue[StateChange] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sns = lru_cache(None)(lambda region: aws_clients.client("sns", region, url))

    # Alarms, as moto has them. Any thread may call these.

    def claim(self, alarm: Any, meaning: MetricAlarm | AlarmRule) -> None:
        """Take an alarm that a client has just put."""
        alarm.evaluated_by, alarm.meaning = self, meaning

    def claim_restored(self) -> None:
        """Take the alarms of the saved state."""
        for region in self.regions():
            for alarm in _alarms_of(region).values():
                if getattr(alarm, "evaluated_by", None) is not None:
                    continue
                with suppress(ValueError):  # one that PutMetricAlarm would have rejected, made by a template
                    self.claim(alarm, metric_alarm(alarm) if alarm.rule is None else AlarmRule(alarm.rule))

    def of_region(self, region: str) -> list[Any]:
        """Return this emulator's alarms in a region."""
        return [alarm for alarm in _alarms_of(region).values() if getattr(alarm, "evaluated_by", None) is self]

    def raised(self, region: str) -> list[Any]:
        """Return this emulator's alarms on metrics that are in ALARM, and whose actions are enabled."""
        return [
            alarm
            for alarm in self.of_region(region)
            if alarm.state_value == AlarmState.ALARM
            and alarm.actions_enabled
            and isinstance(alarm.meaning, MetricAlarm)
        ]

    @staticmethod
    def regions() -> list[str]:
        """Return the regions that have CloudWatch's backends, and may have alarms."""
        from moto.cloudwatch.models import cloudwatch_backends

        return list(cloudwatch_backends[ACCOUNT])

    @staticmethod
    def states(region: str, names: Iterable[str]) -> dict[str, AlarmState | None]:
        """Return the alarms' states, None for those that do not exist."""
        known = _alarms_of(region)
        found = {name: known.get(name) for name in names}
        return {name: AlarmState(alarm.state_value) if alarm is not None else None for name, alarm in found.items()}

    def set_state(
        self, region: str, alarm: Any, state: str, reason: str, data: str | None, children: Sequence[Any] = ()
    ) -> None:
        """Set a state in moto, as SetAlarmState does. A change goes into the history, and has actions carried out."""
        state = str(state)  # not of a class of ours, in what is saved
        with self.lock:
            old, before = alarm.state_value, (alarm.state_value, alarm.state_reason, alarm.state_reason_data)
            alarm.update_state(reason, data or "{}", state)
            if state == old:
                return
            alarm.state_transitioned_timestamp = alarm.state_updated_timestamp
            at = alarm.state_updated_timestamp.replace(tzinfo=UTC).timestamp()
            states = {"oldState": state_members(*before), "newState": state_members(state, reason, data)}
            add_item(alarm, "StateUpdate", f"Alarm updated from {old} to {state}", {"version": "1.0", **states})
        self._save()
        self._submit(StateChange(region, alarm, old, state, reason, at, tuple(children)))

    # Actions

    async def run(self) -> None:
        """Carry out actions until cancelled."""
        self._loop = asyncio.get_running_loop()
        while True:
            change = await self._changes.get()
            try:
                await self._on_change(change)
            except Exception:  # the next change is not to be lost
                logger.exception("the actions of alarm %s failed", change.alarm.name)

    def _submit(self, change: StateChange) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._changes.put_nowait, change)

    async def _on_change(self, change: StateChange) -> None:
        text = f"alarm {change.alarm.name}: {change.old} -> {change.new}. {change.reason}"
        self._recorder.event(EventKind.ALARM, Place(change.region, _endpoint_of(change.alarm)), text)
        for action in change.actions:
            error = await asyncio.to_thread(self._carry_out, action, change)
            _note_action(change, action, error)
            if error is not None:
                logger.warning("alarm %s: %s", change.alarm.name, error)
                place = Place(change.region, _endpoint_of(change.alarm))
                self._recorder.event(EventKind.FAILED, place, f"alarm {change.alarm.name}: {error}")

    def _carry_out(self, action: str, change: StateChange) -> str | None:
        """Return why the action failed, if it did."""
        parts = action.split(":")
        if parts[2:3] == ["autoscaling"]:
            return None if self._has_policy(change.region, action) else f"there is no scaling policy {action}"
        if len(parts) != 6 or parts[2] != "sns":
            return (
                f"the emulator cannot carry out the action {action}; it publishes to topics of SNS, and has the scaling"
                " policies of endpoints"
            )
        try:
            text = json.dumps(message(change))
            self._sns(parts[3]).publish(TopicArn=action, Subject=subject(change), Message=text)
        except (ClientError, BotoCoreError) as error:
            return f"cannot publish to the topic {action}: {error}"
        return None


def _note_action(change: StateChange, action: str, error: str | None) -> None:
    data = {
        "actionState": "Succeeded" if error is None else "Failed",
        "stateUpdateTimestamp": int(change.at * 1000),
        "notificationResource": action,
    }
    done = "Successfully executed" if error is None else "Failed to execute"
    add_item(change.alarm, "Action", f"{done} action {action}", data | ({"error": error} if error else {}))


def _alarms_of(region: str) -> dict[str, Any]:
    from moto.cloudwatch.models import cloudwatch_backends

    return dict(cloudwatch_backends[ACCOUNT][region].alarms)


def _endpoint_of(alarm: Any) -> str:
    """Return the endpoint whose metric an alarm is on, or nothing."""
    names = (item.value for item in alarm.dimensions if item.name == "EndpointName")
    return str(next(names, ""))
