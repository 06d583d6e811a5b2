"""What DescribeScalingActivities tells: kept with moto's records of Application Auto Scaling."""

import time
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from polyhost.emulator.autoscaling.decision import CapacityLimits, Decision
from polyhost.emulator.autoscaling.scalable_target import NAMESPACE, TargetId, scaling_backend

ATTRIBUTE = "scaling_activities"  # of moto's backend
_MOST = 1000  # of a region; AWS keeps them for six weeks


class ActivityStatus(StrEnum):
    """States of an activity (botocore, ScalingActivityStatusCode)."""

    IN_PROGRESS = "InProgress"
    SUCCESSFUL = "Successful"
    UNFULFILLED = "Unfulfilled"
    FAILED = "Failed"


@dataclass
class ScalingActivity:
    """A change of a target, or of its limits; `reason` is of one that was not scaled. All of plain types."""

    resource_id: str
    dimension: str
    description: str
    cause: str
    status: str = ActivityStatus.IN_PROGRESS.value
    message: str = ""
    reason: dict[str, Any] | None = None
    started: float = field(default_factory=time.time)
    ended: float | None = None
    identifier: str = field(default_factory=lambda: str(uuid.uuid4()))

    def end(self, status: ActivityStatus, message: str) -> None:
        """Note the outcome."""
        self.status, self.message, self.ended = status.value, message, time.time()

    def members(self) -> dict[str, Any]:
        """Return the activity as DescribeScalingActivities describes it."""
        members = {
            "ActivityId": self.identifier,
            "ServiceNamespace": NAMESPACE,
            "ResourceId": self.resource_id,
            "ScalableDimension": self.dimension,
            "Description": self.description,
            "Cause": self.cause,
            "StartTime": self.started,
            "EndTime": self.ended,
            "StatusCode": self.status,
            "StatusMessage": self.message or None,
            "NotScaledReasons": [self.reason] if self.reason else None,
        }
        return {name: value for name, value in members.items() if value is not None}


def begin(region: str, target: TargetId, description: str, cause: str) -> ScalingActivity:
    """Add an activity in progress."""
    activity = ScalingActivity(target.resource_id, target.dimension.value, description, cause)
    _add(region, activity)
    return activity


def add_not_scaled(region: str, target: TargetId, decision: Decision, limits: CapacityLimits) -> None:
    """Add an activity that changes nothing, unless the target's last one says the same."""
    assert decision.code is not None
    reason = {"Code": decision.code.value, "CurrentCapacity": decision.capacity}
    reason |= {"MinCapacity": limits.least, "MaxCapacity": limits.most}
    latest = next((item for item in activities(region) if item.resource_id == target.resource_id), None)
    if latest is not None and latest.reason == reason and latest.cause == decision.trigger.cause:
        return
    activity = ScalingActivity(
        target.resource_id,
        target.dimension.value,
        "Attempting to scale due to alarm triggered",
        decision.trigger.cause,
        reason=reason,
    )
    activity.end(ActivityStatus.UNFULFILLED, "")
    _add(region, activity)


def activities(region: str) -> list[ScalingActivity]:
    """Return the activities of a region, the latest first."""
    return list(reversed(_kept(region)))


def end_interrupted(region: str) -> None:
    """End what an emulator that was killed had begun."""
    for activity in _kept(region):
        if activity.status == ActivityStatus.IN_PROGRESS:
            activity.end(ActivityStatus.UNFULFILLED, "The emulator ended meanwhile.")


def _add(region: str, activity: ScalingActivity) -> None:
    kept = _kept(region)
    kept.append(activity)
    del kept[:-_MOST]


def _kept(region: str) -> list[ScalingActivity]:
    kept: list[ScalingActivity] = vars(scaling_backend(region)).setdefault(ATTRIBUTE, [])
    return kept
