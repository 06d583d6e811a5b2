"""The auto scaling of an emulator's endpoints."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from polyhost.emulator.alarms.service import Alarms
from polyhost.emulator.autoscaling.activities import add_not_scaled, end_interrupted
from polyhost.emulator.autoscaling.decision import CapacityLimits, decide
from polyhost.emulator.autoscaling.records import deregister
from polyhost.emulator.autoscaling.scalable_target import Dimension, TargetId, scalable_targets, scaling_regions
from polyhost.emulator.autoscaling.scaler import CapacityScaler, variant_of
from polyhost.emulator.autoscaling.scheduled_actions import LIMITS_CHANGED, carry_out_due
from polyhost.emulator.autoscaling.triggers import AlarmTriggers
from polyhost.emulator.hosting.endpoint import Endpoint
from polyhost.emulator.telemetry.recorder import MetricValue, Place, PlaceKind, Recorder
from polyhost.emulator.time_scale import TimeScale

SCALING = "polyhost.scaling"  # the key of a WSGI request for the emulator's auto scaling
_ROUND_S = 10.0  # before scaling by --time-scale: the shortest time between two evaluations of an alarm

FindEndpoint = Callable[[str, str], Endpoint | None]

logger = logging.getLogger(__name__)


class AutoScaling:
    """Looks again and again at what alarms, schedules and limits ask for.

    `save` is called after a change of records that no request has made.
    """

    def __init__(
        self, alarms: Alarms, recorder: Recorder, scale: TimeScale, save: Callable[[], None] = lambda: None
    ) -> None:
        self.alarms = alarms
        self.scale = scale
        self._find: FindEndpoint = lambda _region, _name: None
        self._recorder = recorder
        self._save = save
        self._triggers = AlarmTriggers(alarms, scale)
        self._scaler = CapacityScaler(recorder, scale)
        self._invoked: set[Place] = set()  # since the last round
        self._changes: set[asyncio.Task[None]] = set()
        recorder.listen(on_metric=self._on_metric, on_removed=self._on_removed)

    def attach(self, find: FindEndpoint) -> None:
        """Scale the endpoints that `find` returns by region and name."""
        self._find = find

    def variant(self, region: str, target: TargetId) -> tuple[Endpoint, Any] | None:
        """Return a target's endpoint and variant, if both exist. Any thread may call it."""
        endpoint = self._find(region, target.endpoint)
        if endpoint is None:
            return None
        try:
            return endpoint, variant_of(endpoint, target.variant)
        except LookupError:
            return None

    async def run(self) -> None:
        """Scale until cancelled; failures are logged."""
        for region in scaling_regions():
            end_interrupted(region)
        since = time.time()
        while True:
            await asyncio.sleep(self.scale.passing(_ROUND_S))
            now = time.time()
            try:
                await self._round(since, now)
            except Exception:
                logger.exception("cannot scale the endpoints")
            since = now

    async def _round(self, since: float, now: float) -> None:
        invoked, self._invoked = self._invoked, set()
        for region in scaling_regions():
            if carry_out_due(region, since, now, self.scale):
                await asyncio.to_thread(self._save)
            for target, record in scalable_targets(region).items():
                found = self.variant(region, target)
                if found is None or found[0] in self._scaler.busy:
                    continue
                self._measure_idle(found[0], target, invoked)
                await self._consider(region, target, record, *found)

    async def _consider(self, region: str, target: TargetId, record: Any, endpoint: Endpoint, variant: Any) -> None:
        current = target.dimension.capacity(variant)
        limits = CapacityLimits(record.min_capacity, record.max_capacity)
        if vars(record).get(LIMITS_CHANGED) and not endpoint.busy:
            vars(record)[LIMITS_CHANGED] = False
            if (wanted := limits.within(current)) != current:
                cause = f"{'minimum' if wanted > current else 'maximum'} capacity was set to {wanted}"
                self._begin(self._scaler.set(endpoint, target, wanted, cause))
                return
        triggers = await asyncio.to_thread(self._triggers.find, region, target)
        suspended = record.suspended_state
        if suspended.get("DynamicScalingOutSuspended"):
            triggers = [item for item in triggers if not item.asks_for_more(current)]
        if suspended.get("DynamicScalingInSuspended"):
            triggers = [item for item in triggers if item.asks_for_more(current)]
        decision = decide(triggers, current, limits, self._scaler.cool_down(region, target), time.time())
        if decision is None:
            return
        if decision.code is not None:
            add_not_scaled(region, target, decision, limits)
        else:
            self._begin(self._scaler.carry_out(endpoint, target, decision))

    def _begin(self, change: Any) -> None:
        task = asyncio.create_task(self._finish(change))
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)

    async def _finish(self, change: Any) -> None:
        try:
            await change
            await asyncio.to_thread(self._save)
        except Exception:
            logger.exception("a change of capacity failed")

    # Metrics and endpoints

    def _on_metric(self, metric: MetricValue) -> None:
        if metric.name == "InvocationsPerInstance":
            self._invoked.add(metric.place)

    def _measure_idle(self, endpoint: Endpoint, target: TargetId, invoked: set[Place]) -> None:
        """Measure 0 for a target without traffic, so that it is scaled in (developer guide, endpoint-auto-scaling)."""
        place = Place(endpoint.region, endpoint.name, target.variant)
        counts = target.dimension is Dimension.INSTANCES and endpoint.async_settings is None and endpoint.serving
        if counts and place not in invoked:
            self._recorder.measure("InvocationsPerInstance", 0.0, "None", place)

    def _on_removed(self, place: Place) -> None:
        """Deregister the targets of an endpoint that was deleted (developer guide, endpoint-auto-scaling-delete)."""
        if place.instance or place.variant or place.kind is not PlaceKind.ENDPOINT:
            return
        targets = [target for target in scalable_targets(place.region) if target.endpoint == place.endpoint]
        for target in targets:
            self.forget(place.region, target)
        if targets:
            self._begin(asyncio.sleep(0))  # which saves

    def forget(self, region: str, target: TargetId) -> None:
        """Remove a target with its policies, their alarms and its scheduled actions."""
        deregister(region, target)
        self._scaler.forget(region, target)
