"""What Application Auto Scaling did, as the dashboard shows it."""

import heapq
from collections.abc import Iterable
from typing import Any

from polyhost.emulator.autoscaling.activities import ScalingActivity, activities
from polyhost.emulator.autoscaling.scalable_target import scaling_regions

_SHOWN = 100  # the latest


def scaling_states(regions: Iterable[str]) -> list[dict[str, Any]]:
    """Describe the activities of these regions in JSON, the latest first."""
    scaled = sorted(set(regions).intersection(scaling_regions()))
    found = ((region, activity) for region in scaled for activity in activities(region)[:_SHOWN])
    latest = heapq.nlargest(_SHOWN, found, key=lambda item: item[1].started)
    return [_describe(region, activity) for region, activity in latest]


def _describe(region: str, activity: ScalingActivity) -> dict[str, Any]:
    return {
        "id": activity.identifier,
        "region": region,
        "resource": activity.resource_id,
        "description": activity.description,
        "cause": activity.cause,
        "status": activity.status,
        "message": activity.message,
        "reason": activity.reason,
        "started": activity.started,
        "ended": activity.ended,
    }
