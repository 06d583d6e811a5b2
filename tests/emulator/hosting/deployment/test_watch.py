"""Alarms and time during a deployment."""

import asyncio
from collections.abc import Iterable, Mapping

import pytest

from polyhost.emulator.hosting.deployment.stages import TRANSITIONS, DeploymentStage
from polyhost.emulator.hosting.deployment.watch import DeploymentError, DeploymentWatch
from polyhost.emulator.time_scale import TimeScale

pytestmark = pytest.mark.anyio


class States:
    """Alarms whose states a test sets."""

    def __init__(self, **states: str | None) -> None:
        self.known = dict(states)

    def __call__(self, region: str, names: Iterable[str]) -> Mapping[str, str | None]:
        return {name: self.known.get(name) for name in names}


async def test_a_bake_ends_early_when_an_alarm_trips() -> None:
    states = States(a="OK", b="INSUFFICIENT_DATA")
    watch = DeploymentWatch("r", ("a", "b"), states, TimeScale(), None)
    baking = asyncio.create_task(watch.bake(3600))
    await asyncio.sleep(0)
    states.known["b"] = "ALARM"
    with pytest.raises(DeploymentError, match=r"^The alarm\(s\) b of AutoRollbackConfiguration tripped\.$"):
        await baking


async def test_an_alarm_that_was_deleted_ends_the_deployment() -> None:
    watch = DeploymentWatch("r", ("gone",), States(), TimeScale(), None)
    with pytest.raises(DeploymentError, match="gone of AutoRollbackConfiguration do not exist"):
        await watch.check()


async def test_the_limit_counts_waits_as_they_were_asked_for() -> None:
    watch = DeploymentWatch("r", (), States(), TimeScale(0.00001), 1000)
    await watch.bake(400)
    await watch.bake(400)
    assert 100 < watch.remaining_s() <= 200
    with pytest.raises(DeploymentError, match="exceeded MaximumExecutionTimeoutInSeconds, 1000"):
        await watch.bake(400)
    with pytest.raises(DeploymentError, match="exceeded"):
        watch.remaining_s()


async def test_the_limit_ends_work() -> None:
    watch = DeploymentWatch("r", (), States(), TimeScale(), 0.05)
    with pytest.raises(DeploymentError, match="exceeded"):
        async with watch.working():
            await asyncio.Event().wait()


def test_each_stage_leads_somewhere_and_ends_are_ends() -> None:
    assert set(TRANSITIONS) == set(DeploymentStage)
    ends = {stage for stage, following in TRANSITIONS.items() if not following}
    assert ends == {DeploymentStage.DONE, DeploymentStage.ROLLED_BACK, DeploymentStage.ROLLBACK_FAILED}
