"""An endpoint: its lifecycle, and how its variants share the traffic."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any

from polyhost.emulator.errors import EmulatorError
from polyhost.emulator.hosting.async_settings import AsyncSettings
from polyhost.emulator.hosting.change_watch import ChangeWatch
from polyhost.emulator.hosting.deployment.blue_green import BlueGreenRollout
from polyhost.emulator.hosting.deployment.policy import Strategy
from polyhost.emulator.hosting.deployment.rolling import RollingRollout
from polyhost.emulator.hosting.deployment.rollout import Deployment, Rollout
from polyhost.emulator.hosting.deployment.stages import DeploymentStage
from polyhost.emulator.hosting.deployment.watch import DeploymentWatch, RollbackError
from polyhost.emulator.hosting.failure_reasons import MAX_REASON_CHARS, failure_reason
from polyhost.emulator.hosting.fleet import DRAIN_S
from polyhost.emulator.hosting.generations import Generations
from polyhost.emulator.hosting.interfaces import Platform, VariantSpec
from polyhost.emulator.hosting.variants import Variant, VariantChanges, resize_variants
from polyhost.emulator.telemetry.recorder import (
    DEPLOYMENT_SHARE,
    DEPLOYMENTS_DONE,
    DEPLOYMENTS_ROLLED_BACK,
    ROLLBACKS_FAILED,
    EventKind,
    Place,
)

logger = logging.getLogger(__name__)


class EndpointStatus(StrEnum):
    """States of an endpoint (botocore, EndpointStatus); the last one is never shown: the endpoint does not exist."""

    CREATING = "Creating"
    IN_SERVICE = "InService"
    UPDATING = "Updating"
    ROLLING_BACK = "RollingBack"
    UPDATE_ROLLBACK_FAILED = "UpdateRollbackFailed"
    FAILED = "Failed"
    DELETING = "Deleting"
    DELETED = "Deleted"


_CREATING, _IN_SERVICE, _UPDATING = EndpointStatus.CREATING, EndpointStatus.IN_SERVICE, EndpointStatus.UPDATING
_ROLLING_BACK, _ROLLBACK_FAILED = EndpointStatus.ROLLING_BACK, EndpointStatus.UPDATE_ROLLBACK_FAILED
_FAILED, _DELETING, _DELETED = EndpointStatus.FAILED, EndpointStatus.DELETING, EndpointStatus.DELETED

_TRANSITIONS: dict[EndpointStatus, frozenset[EndpointStatus]] = {
    _CREATING: frozenset({_CREATING, _IN_SERVICE, _FAILED, _DELETING}),
    _IN_SERVICE: frozenset({_UPDATING, _DELETING}),
    _UPDATING: frozenset({_IN_SERVICE, _ROLLING_BACK, _DELETING}),
    # A failed update leaves what was (aws-controllers-k8s, issue 7).
    _ROLLING_BACK: frozenset({_IN_SERVICE, _ROLLBACK_FAILED, _DELETING}),
    _ROLLBACK_FAILED: frozenset({_UPDATING, _DELETING}),  # serves with both configurations
    _FAILED: frozenset({_DELETING}),
    _DELETING: frozenset({_DELETING, _DELETED}),  # two requests at the same moment can both delete it
    _DELETED: frozenset({_DELETED}),
}

_OUTCOMES = {
    DeploymentStage.DONE: DEPLOYMENTS_DONE,
    DeploymentStage.ROLLED_BACK: DEPLOYMENTS_ROLLED_BACK,
    DeploymentStage.ROLLBACK_FAILED: ROLLBACKS_FAILED,
}


class Endpoint:
    """Changes itself in tasks, one at a time; `status` shows the progress, and `on_change` is called at each step."""

    def __init__(
        self,
        platform: Platform,
        region: str,
        name: str,
        arn: str,
        config_name: str,
        on_change: Callable[["Endpoint"], None] = lambda _: None,
    ) -> None:
        self.region = region
        self.name = name
        self.arn = arn
        self.config_name = config_name
        self.status = EndpointStatus.CREATING
        self.failure_reason: str | None = None
        self.async_settings: AsyncSettings | None = None  # of an endpoint for InvokeEndpointAsync
        self.generations = Generations(platform, Place(region, name))
        self.rollout: Rollout | None = None  # of an update, also when it is over, until the next
        self.deployment: Deployment | None = None
        self.unfinished_update: Deployment | None = None  # also while an emulator creates the endpoint again
        self._platform = platform
        self._on_change = on_change
        self._place = Place(region, name)
        self._watch = ChangeWatch()
        self._change: asyncio.Task[None] | None = None

    @property
    def variants(self) -> list[Variant]:
        """The variants of the endpoint's configuration; `generations` has those of an update's too."""
        return self.generations.all[0].variants if self.generations.all else []

    @property
    def serving(self) -> bool:
        return self.status in (_IN_SERVICE, _UPDATING, _ROLLING_BACK, _ROLLBACK_FAILED)

    @property
    def busy(self) -> bool:
        return self.status in (_CREATING, _UPDATING, _ROLLING_BACK, _DELETING)

    def choose(self, target: str | None, session: str | None = None) -> Variant:
        """Choose a production variant by weight, or the one of this name. Raises ValidationError without it."""
        return self.generations.choose(target, session)

    async def until_changed(self, timeout_s: float, patient: bool) -> None:
        """Wait for the end of a change in progress, before a description; clients' waiters are patient."""
        if self.busy:
            await self._watch.wait(timeout_s, patient)

    async def until_settled(self) -> None:
        """Wait for the end of a change in progress."""
        while self.busy and self._change is not None and not self._change.done():
            await asyncio.wait({self._change})

    # Changes

    def create(
        self,
        specs: Sequence[VariantSpec],
        async_settings: AsyncSettings | None = None,
        update: Deployment | None = None,
    ) -> None:
        """Start all instances and then, if there is an update, begin that."""
        self.unfinished_update = update
        self.async_settings = async_settings
        self.deployment = Deployment(self.config_name, tuple(specs), time.time(), async_settings)
        self._begin(_CREATING, self._create(specs))

    def update(self, deployment: Deployment) -> None:
        self.deployment = self.unfinished_update = deployment
        self._begin(_UPDATING, self._update(deployment))

    def resize(self, changes: VariantChanges) -> None:
        specs = tuple(changes.applied_to(variant.current_spec) for variant in self.variants)
        self.rollout = None
        self.unfinished_update = Deployment(self.config_name, specs, time.time(), self.async_settings)
        self._begin(_UPDATING, self._resize(changes))

    async def delete(self) -> None:
        if self.status is _DELETED:
            return
        self._become(_DELETING)
        await self.stop()
        self._become(_DELETED)
        self._platform.recorder.remove(self._place)

    def fail(self, reason: str) -> None:
        self._become(_FAILED, reason)

    async def stop(self, drain_s: float = DRAIN_S) -> None:
        """Stop all instances; without a drain time, also those that are leaving already."""
        if self._change is not None and self._change is not asyncio.current_task():
            self._change.cancel()
            await asyncio.gather(self._change, return_exceptions=True)
        await self.generations.stop(drain_s)

    async def _create(self, specs: Sequence[VariantSpec]) -> None:
        try:
            generation = await self.generations.start(self.config_name, specs, self.async_settings)
        except EmulatorError as error:
            self._become(_FAILED, str(error))
        else:
            self.generations.add(generation)
            self._become(_IN_SERVICE)
            if (update := self.unfinished_update) is not None:
                self.update(replace(update, since=time.time()))

    async def _update(self, deployment: Deployment) -> None:
        """Replace the fleets: the old ones serve until the new ones do, then finish what they have."""
        rollout = self.rollout = self._new_rollout(deployment)
        try:
            await rollout.run()
        except EmulatorError as error:
            await self._roll_back(rollout, str(error))
        except Exception as error:
            logger.exception("the update of endpoint %s failed", self.name)
            await self._roll_back(rollout, f"The emulator failed: {error!r}.")
        else:
            self.config_name, self.async_settings = deployment.config_name, deployment.async_settings
            self._end_update()

    async def _roll_back(self, rollout: Rollout, reason: str) -> None:
        self.unfinished_update = None  # an emulator that is killed now comes back with the old fleet
        self._become(_ROLLING_BACK, reason)
        try:
            await rollout.roll_back()
        except RollbackError as error:
            self._become(_ROLLBACK_FAILED, f"{reason} {error}")
        except Exception as error:
            logger.exception("the rollback of endpoint %s failed", self.name)
            self._become(_ROLLBACK_FAILED, f"{reason} The emulator failed: {error!r}.")
        else:
            self._end_update(reason)

    def _new_rollout(self, deployment: Deployment) -> Rollout:
        policy, platform = deployment.policy, self._platform
        watch = DeploymentWatch(self.region, policy.alarms, platform.alarm_states, platform.time_scale, policy.limit_s)
        kind = RollingRollout if policy.strategy is Strategy.ROLLING else BlueGreenRollout
        return kind(deployment, self.generations, watch, self._on_stage)

    def _on_stage(self, rollout: Rollout, message: str) -> None:
        self._watch.announce_step()
        text = f"deployment of {rollout.deployment.config_name} ({rollout.deployment.policy.strategy}) {message}"
        recorder = self._platform.recorder
        recorder.event(EventKind.DEPLOYMENT, self._place, text)
        for config, share in rollout.shares().items():
            recorder.measure(DEPLOYMENT_SHARE, share, "None", self._place, config=config)
        if (outcome := _OUTCOMES.get(rollout.stage)) is not None:
            recorder.measure(outcome, 1, "None", self._place)

    async def _resize(self, changes: VariantChanges) -> None:
        try:
            await resize_variants(self.variants, changes)
        except Exception as error:
            self._end_update(failure_reason(error, self.variants[0].spec))
        else:
            self._end_update()

    def _end_update(self, failure: str | None = None) -> None:
        self.unfinished_update = None
        self._become(_IN_SERVICE, failure)

    def _begin(self, status: EndpointStatus, work: Coroutine[Any, Any, None]) -> None:
        self._become(status)
        self._change = asyncio.create_task(work)

    def _become(self, status: EndpointStatus, reason: str | None = None) -> None:
        assert status in _TRANSITIONS[self.status], f"{self.name} is {self.status} and cannot become {status}"
        self.status = status
        self.failure_reason = reason[:MAX_REASON_CHARS] if reason else None
        if not self.busy:
            self.deployment = None
        self._on_change(self)
        if status is _ROLLING_BACK:
            self._watch.announce_step()
        else:
            self._watch.announce()
        self._platform.recorder.event(EventKind.ENDPOINT, self._place, f"{status}: {reason}" if reason else status)
