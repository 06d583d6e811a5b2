"""Scheduled actions, which change the limits of a target at their times."""

import logging
from typing import Any

from polyhost.emulator.autoscaling.activities import ActivityStatus, begin
from polyhost.emulator.autoscaling.scalable_target import NAMESPACE, scalable_targets, scaling_backend, target_id
from polyhost.emulator.autoscaling.schedules import schedule
from polyhost.emulator.time_scale import TimeScale

LIMITS_CHANGED = "limits_changed"  # attribute of a target of moto's whose capacity may be outside of its limits

logger = logging.getLogger(__name__)


def set_limits(record: Any, least: int | None, most: int | None) -> None:
    """Change a target's limits; its capacity is to follow."""
    record.update(least, most, None)
    vars(record)[LIMITS_CHANGED] = True


def carry_out_due(region: str, since: float, now: float, scale: TimeScale) -> bool:
    """Carry out what was due between two times; return whether something was."""
    due = [action for action in list(scaling_backend(region).scheduled_actions) if _is_due(action, since, now, scale)]
    done = [_carry_out(region, action) for action in due]
    return any(done)


def _is_due(action: Any, since: float, now: float, scale: TimeScale) -> bool:
    if action.service_namespace != NAMESPACE:
        return False
    try:
        times = schedule(action.schedule, action.timezone, action.start_time or action.creation_time, scale)
    except ValueError as error:  # of a state that was saved by another version
        logger.warning("scheduled action %s: %s", action.scheduled_action_name, error)
        return False
    at = times(max(since, action.creation_time))
    begins, ends = action.start_time, action.end_time
    return at is not None and at <= now and (not begins or at >= begins) and (not ends or at <= ends)


def _carry_out(region: str, action: Any) -> bool:
    target = target_id(action)
    record = scalable_targets(region).get(target)
    if record is None or record.suspended_state["ScheduledScalingSuspended"]:
        return False
    wanted = action.scalable_target_action or {}
    least, most = wanted.get("MinCapacity"), wanted.get("MaxCapacity")
    set_limits(record, least, most)
    parts = [f"{name} capacity to {value}" for name, value in (("min", least), ("max", most)) if value is not None]
    change = " and ".join(parts)
    cause = f"scheduled action name {action.scheduled_action_name} was triggered"
    begin(region, target, f"Setting {change}", cause).end(ActivityStatus.SUCCESSFUL, f"Successfully set {change}")
    return True
