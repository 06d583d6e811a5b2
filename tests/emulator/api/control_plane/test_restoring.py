"""Endpoints of an emulator that ended while they were changing, in the next emulator with the same state."""

from pathlib import Path
from typing import Any

import pytest

from tests.emulator.api.control_plane.harness import ControlPlaneHarness, running_control_plane, variant
from tests.emulator.hosting.deployment.harness import canary, guarded
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
def hold(tmp_path: Path) -> Path:
    """Return a file with which the containers of model `new` do not get in service."""
    return tmp_path / "hold"


async def _updating(plane: ControlPlaneHarness, hold: Path, **environment: str) -> None:
    """Create an endpoint, and begin an update to a model whose containers do not get in service yet."""
    await plane.create_model("old")
    await plane.create_config("before", variant(ModelName="old"))
    await plane.create_endpoint("e", "before")
    await plane.create_model("new", SMALL_HOLD=str(hold), **environment)
    await plane.create_config("after", variant(ModelName="new"))
    hold.touch()
    await plane.call("UpdateEndpoint", EndpointName="e", EndpointConfigName="after")


async def _description(plane: ControlPlaneHarness) -> Any:
    return await plane.call("DescribeEndpoint", EndpointName="e")


async def test_an_update_in_progress_is_done(tmp_path: Path, hold: Path) -> None:
    async with running_control_plane(tmp_path, tmp_path) as plane:
        await _updating(plane, hold)
        assert (await _description(plane))["EndpointStatus"] == "Updating"
    async with running_control_plane(tmp_path, tmp_path) as plane:  # ends again, while it creates the old fleet
        assert (await _description(plane))["EndpointStatus"] == "Creating"
    hold.unlink()
    async with running_control_plane(tmp_path, tmp_path) as plane:
        seen = await plane.until_settled()
        assert (seen["EndpointStatus"], seen["EndpointConfigName"]) == ("InService", "after")
        assert "FailureReason" not in seen
        assert (await plane.invoke())["name"] == "a"
    async with running_control_plane(tmp_path, tmp_path) as plane:  # once
        seen = await plane.until_settled()
        assert seen["EndpointConfigName"] == "after"
        assert plane.endpoint().unfinished_update is None


async def test_an_update_in_progress_that_fails_leaves_the_old_fleet(tmp_path: Path, hold: Path) -> None:
    async with running_control_plane(tmp_path, tmp_path) as plane:
        await _updating(plane, hold, SMALL_EXIT="3")
    async with running_control_plane(tmp_path, tmp_path) as plane:
        seen = await plane.until_settled()
        assert (seen["EndpointStatus"], seen["EndpointConfigName"]) == ("InService", "before")
        assert "did not pass the ping health check" in seen["FailureReason"]
        assert (await plane.invoke())["name"] == "a"


async def test_a_change_of_counts_in_progress_is_done(tmp_path: Path, hold: Path) -> None:
    async with running_control_plane(tmp_path, tmp_path) as plane:
        await plane.create_model("new", SMALL_HOLD=str(hold))
        await plane.create_config("c", variant(ModelName="new"))
        await plane.create_endpoint()
        hold.touch()
        wanted = {"VariantName": "AllTraffic", "DesiredInstanceCount": 2, "DesiredWeight": 3.0}
        await plane.call("UpdateEndpointWeightsAndCapacities", EndpointName="e", DesiredWeightsAndCapacities=[wanted])
        assert (await _description(plane))["EndpointStatus"] == "Updating"
    hold.unlink()
    async with running_control_plane(tmp_path, tmp_path) as plane:
        (seen,) = (await plane.until_settled())["ProductionVariants"]
        assert (seen["CurrentInstanceCount"], seen["CurrentWeight"]) == (2, 3.0)


async def test_a_deletion_in_progress_is_done(tmp_path: Path) -> None:
    async with running_control_plane(tmp_path, tmp_path) as plane:
        await plane.create_model()
        await plane.create_config()
        await plane.create_endpoint()
        await plane.call("DeleteEndpoint", EndpointName="e")
    async with running_control_plane(tmp_path, tmp_path) as plane:
        assert "Could not find endpoint" in await plane.rejection("DescribeEndpoint", EndpointName="e")


async def test_a_canary_in_progress_begins_again_with_its_config(tmp_path: Path, hold: Path) -> None:
    async with running_control_plane(tmp_path, tmp_path) as plane:
        await plane.create_model("old")
        await plane.create_config("before", variant(ModelName="old"))
        await plane.create_endpoint("e", "before")
        await plane.create_model("new", SMALL_HOLD=str(hold))
        await plane.create_config("after", variant(ModelName="new"))
        deployment = canary(50, 3600)
        await plane.call("UpdateEndpoint", EndpointName="e", EndpointConfigName="after", DeploymentConfig=deployment)
        await until(lambda: _share(plane) == 0.5)
        assert len(plane.endpoint().generations.all) == 2
        (pending,) = (await _description(plane))["PendingDeploymentSummary"]["ProductionVariants"]
        assert pending["VariantStatus"][0]["Status"] == "Baking"
    hold.touch()
    for _ in range(2):  # the second one ends while the new fleet starts again
        async with running_control_plane(tmp_path, tmp_path) as plane:
            await until(lambda: plane.endpoint().status == "Updating")
            assert [item.config_name for item in plane.endpoint().generations.all] == ["before"]
            assert (await plane.invoke())["name"] == "a"
            assert _share(plane) == 0.0
    hold.unlink()
    async with running_control_plane(tmp_path, tmp_path) as plane:
        await until(lambda: _share(plane) == 0.5)


async def test_a_deployment_whose_alarms_are_gone_leaves_the_old_fleet(tmp_path: Path) -> None:
    async with running_control_plane(tmp_path, tmp_path) as plane:
        await plane.create_model()
        await plane.create_config("before", variant())
        await plane.create_config("after", variant())
        await plane.create_endpoint("e", "before")
        deployment = guarded(canary(50, 3600), "guard")
        object.__setattr__(plane.platform, "alarm_states", lambda region, names: dict.fromkeys(names, "OK"))
        plane.registry.alarm_states = plane.platform.alarm_states
        await plane.call("UpdateEndpoint", EndpointName="e", EndpointConfigName="after", DeploymentConfig=deployment)
        await until(lambda: _share(plane) == 0.5)
    async with running_control_plane(tmp_path, tmp_path) as plane:  # has no alarms
        seen = await plane.until_settled()
        assert (seen["EndpointStatus"], seen["EndpointConfigName"]) == ("InService", "before")
        assert seen["FailureReason"] == "The alarm(s) guard of AutoRollbackConfiguration do not exist."
        assert (await plane.invoke())["name"] == "a"


def _share(plane: ControlPlaneHarness) -> float:
    rollout = plane.endpoint().rollout
    return rollout.share if rollout is not None else -1.0
