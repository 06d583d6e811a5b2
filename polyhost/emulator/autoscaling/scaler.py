"""Changes of capacity, by the same way as UpdateEndpointWeightsAndCapacities."""

import time
from dataclasses import replace

from polyhost.emulator.autoscaling.activities import ActivityStatus, ScalingActivity, begin
from polyhost.emulator.autoscaling.decision import CoolDown, Decision
from polyhost.emulator.autoscaling.scalable_target import Dimension, TargetId
from polyhost.emulator.hosting.endpoint import Endpoint, EndpointStatus
from polyhost.emulator.hosting.variants import Variant, VariantChanges
from polyhost.emulator.telemetry.recorder import EventKind, Place, Recorder
from polyhost.emulator.time_scale import TimeScale


class CapacityScaler:
    """Carries out changes, one at a time for an endpoint, and keeps the cool-downs."""

    def __init__(self, recorder: Recorder, scale: TimeScale) -> None:
        self.busy: set[Endpoint] = set()  # that this scaler is changing
        self._recorder = recorder
        self._scale = scale
        self._cool_downs: dict[tuple[str, TargetId], CoolDown] = {}

    def cool_down(self, region: str, target: TargetId) -> CoolDown | None:
        """Return the cool-down of the target's last change."""
        return self._cool_downs.get((region, target))

    def forget(self, region: str, target: TargetId) -> None:
        """Forget a target that is no longer registered."""
        self._cool_downs.pop((region, target), None)

    async def carry_out(self, endpoint: Endpoint, target: TargetId, decision: Decision) -> None:
        """Do what alarms have called for, and let it cool down."""
        before = target.dimension.capacity(variant_of(endpoint, target.variant))
        if not await self.set(endpoint, target, decision.capacity, decision.trigger.cause):
            return
        policy, out = decision.trigger.policy, decision.capacity > before
        seconds = self._scale.passing(policy.out_cooldown_s if out else policy.in_cooldown_s)
        last = self.cool_down(endpoint.region, target)
        # What is added while an earlier scale-out cools down belongs to that one.
        if out and last is not None and last.scaled_out and time.time() < last.until:
            before = last.before
        self._cool_downs[endpoint.region, target] = CoolDown(time.time() + seconds, before, out)

    async def set(self, endpoint: Endpoint, target: TargetId, capacity: int, cause: str) -> bool:
        """Change a capacity, and return whether that went well once all containers have started or ended."""
        what = f"{target.dimension.words} to {capacity}"
        activity = begin(endpoint.region, target, f"Setting {what}.", cause)
        reason = await self._change(endpoint, target, capacity)
        if reason is None:
            text = f"Successfully set {what}. Change successfully fulfilled by sagemaker."
            activity.end(ActivityStatus.SUCCESSFUL, text)
        else:
            activity.end(ActivityStatus.FAILED, f"Failed to set {what}. Reason: {reason}")
        self._report(endpoint, target, activity)
        return reason is None

    async def _change(self, endpoint: Endpoint, target: TargetId, capacity: int) -> str | None:
        """Return why it failed, if it did."""
        if endpoint.status is not EndpointStatus.IN_SERVICE:
            # The words of UpdateEndpointWeightsAndCapacities.
            state = "in-progress endpoint" if endpoint.busy else f"endpoint in status {endpoint.status}:"
            return f'Cannot update {state} "{endpoint.arn}".'
        self.busy.add(endpoint)
        try:
            endpoint.resize(_changes(variant_of(endpoint, target.variant), target.dimension, capacity))
            await endpoint.until_settled()
        finally:
            self.busy.discard(endpoint)
        return endpoint.failure_reason

    def _report(self, endpoint: Endpoint, target: TargetId, activity: ScalingActivity) -> None:
        text = f"scaling of {target.variant}: {activity.message} Cause: {activity.cause}"
        place = Place(endpoint.region, endpoint.name, target.variant)
        failed = activity.status == ActivityStatus.FAILED
        self._recorder.event(EventKind.FAILED if failed else EventKind.SCALING, place, text)


def variant_of(endpoint: Endpoint, name: str) -> Variant:
    """Return the variant of this name. Raises LookupError."""
    found = next((variant for variant in endpoint.variants if variant.name == name), None)
    if found is None:
        raise LookupError(name)
    return found


def _changes(variant: Variant, dimension: Dimension, capacity: int) -> VariantChanges:
    if dimension is Dimension.INSTANCES:
        return VariantChanges({}, {variant.name: capacity})
    current = variant.current_spec.serverless
    assert current is not None
    return VariantChanges({}, {}, {variant.name: replace(current, provisioned=capacity)})
