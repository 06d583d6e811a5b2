"""What all deployments have in common: stages, steps that bake, and the way back."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from polyhost.emulator.hosting.async_settings import AsyncSettings
from polyhost.emulator.hosting.deployment.policy import DeploymentPolicy
from polyhost.emulator.hosting.deployment.stages import TRANSITIONS, DeploymentStage
from polyhost.emulator.hosting.deployment.watch import DeploymentWatch, RollbackError
from polyhost.emulator.hosting.generations import Generation, Generations
from polyhost.emulator.hosting.interfaces import VariantSpec

_REVIVAL_S = 60.0  # scaled: how long a rollback waits for the old fleet's instances, which may be restarting
_POLL_S = 0.05


@dataclass(frozen=True)
class Deployment:
    """The change that an endpoint is going through, or is to go through."""

    config_name: str
    specs: tuple[VariantSpec, ...]
    since: float
    async_settings: AsyncSettings | None = None
    policy: DeploymentPolicy = field(default_factory=DeploymentPolicy)


@dataclass(frozen=True)
class DeploymentStep:
    """The beginning of a stage, and the shares of the traffic then, by endpoint configuration."""

    stage: DeploymentStage
    message: str
    at: float
    shares: dict[str, float]


class Rollout(ABC):
    """Takes an endpoint to another configuration, or back. `report` is called at each stage and step."""

    def __init__(
        self,
        deployment: Deployment,
        generations: Generations,
        watch: DeploymentWatch,
        report: Callable[["Rollout", str], None],
    ) -> None:
        self.deployment = deployment
        self.stage = DeploymentStage.CREATING
        self.new: Generation | None = None
        self._policy = deployment.policy
        self._generations = generations
        self._old = list(generations.all)
        self._watch = watch
        self._report = report
        self.steps = [DeploymentStep(self.stage, "starts the new fleet", time.time(), self.shares())]

    @property
    def share(self) -> float:
        """The new fleet's share of the traffic."""
        return self.new.share if self.new is not None else 0.0

    @property
    def stage_since(self) -> float:
        """When the stage began, in seconds since 1970."""
        return self.steps[-1].at

    def shares(self) -> dict[str, float]:
        """Return the shares of the traffic by endpoint configuration, also of those that have none any more."""
        shares: dict[str, float] = {}
        for generation in (*self._old, *([self.new] if self.new is not None else ())):
            share = generation.share if generation in self._generations.all else 0.0
            shares[generation.config_name] = shares.get(generation.config_name, 0.0) + share
        return shares

    async def run(self) -> None:
        """Replace the fleets. Raises DeploymentError or ContainerError; then it is to be rolled back."""
        await self._watch.check()
        await self._advance()
        assert self.new is not None
        if self._policy.termination_wait_s:
            self._become(DeploymentStage.WAITING, "keeps the old fleet for a while")
            await self._watch.bake(self._policy.termination_wait_s)
        self._generations.keep(self.new)
        self._become(DeploymentStage.DONE, "is done")

    async def roll_back(self) -> None:
        """Give the old fleets all traffic, and end the new one. Raises RollbackError; both fleets serve then."""
        self._become(DeploymentStage.ROLLING_BACK, "rolls back")
        try:
            await self._return()
        except RollbackError:
            self._become(DeploymentStage.ROLLBACK_FAILED, "cannot be rolled back")
            raise
        self._become(DeploymentStage.ROLLED_BACK, "is rolled back")

    @abstractmethod
    async def _advance(self) -> None:
        """Do all steps."""

    @abstractmethod
    async def _return(self) -> None:
        """Undo all steps. Raises RollbackError."""

    async def _start(self, specs: Sequence[VariantSpec]) -> Generation:
        """Start the new fleet, which gets no traffic yet."""
        deployment = self.deployment
        self.new = await self._generations.start(deployment.config_name, specs, deployment.async_settings)
        self._generations.add(self.new)
        return self.new

    async def _bake(self) -> None:
        """Watch the alarms for a while, after a step."""
        self._become(DeploymentStage.BAKING, f"has {self.share:.0%} of the traffic")
        await self._watch.bake(self._policy.wait_s)

    async def _revive(self) -> None:
        """Wait until the old fleets live. Raises RollbackError if they do not within a while."""
        deadline = asyncio.get_running_loop().time() + self._watch.passing(_REVIVAL_S)
        while not all(generation.lives for generation in self._old):
            if asyncio.get_running_loop().time() > deadline:
                raise RollbackError("The old fleet has no instance in service that could take the traffic back.")
            await asyncio.sleep(_POLL_S)

    def _become(self, stage: DeploymentStage, message: str) -> None:
        assert stage in TRANSITIONS[self.stage], f"a deployment is {self.stage} and cannot become {stage}"
        self.stage = stage
        self.steps.append(DeploymentStep(stage, message, time.time(), self.shares()))
        self._report(self, message)

    def summary(self) -> dict[str, Any]:
        """Describe the deployment in JSON."""
        policy = self._policy
        return {
            "config": self.deployment.config_name,
            "strategy": policy.strategy,
            "stage": self.stage,
            "since": self.deployment.since,
            "stage_since": self.stage_since,
            "share": self.share,
            "alarms": list(policy.alarms),
            "steps": [asdict(step) for step in self.steps],
        }
