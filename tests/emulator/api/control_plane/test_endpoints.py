"""CreateEndpoint, DescribeEndpoint, DeleteEndpoint and both kinds of updates."""

import asyncio
from typing import Any

import pytest

from tests.emulator.api.control_plane.harness import ARN, ControlPlaneHarness, variant, weights_and_counts

pytestmark = pytest.mark.anyio


async def test_endpoint_is_created_described_and_deleted(plane: ControlPlaneHarness) -> None:
    await plane.create_model()
    await plane.create_config("c", variant(count=2))
    made = await plane.call("CreateEndpoint", EndpointName="E", EndpointConfigName="c")
    assert made == {"EndpointArn": f"{ARN}:endpoint/e"}
    first = await plane.call("DescribeEndpoint", EndpointName="E")
    assert first["EndpointStatus"] == "Creating"
    assert first["ProductionVariants"][0]["CurrentInstanceCount"] == 0
    for operation, more in (("DeleteEndpoint", {}), ("UpdateEndpoint", {"EndpointConfigName": "c"})):
        message = await plane.rejection(operation, EndpointName="E", **more)
        assert message == f'Cannot update in-progress endpoint "{ARN}:endpoint/e".'
    exists = f'Cannot create already existing endpoint "{ARN}:endpoint/e".'
    assert await plane.rejection("CreateEndpoint", EndpointName="E", EndpointConfigName="c") == exists

    seen = await plane.until_settled("E")
    assert (seen["EndpointStatus"], seen["EndpointConfigName"]) == ("InService", "c")
    assert "FailureReason" not in seen
    [seen_variant] = seen["ProductionVariants"]
    assert weights_and_counts(seen) == {"AllTraffic": (1.0, 1.0, 2, 2)}
    assert seen_variant["DeployedImages"][0]["SpecifiedImage"] == "image"
    assert seen["LastModifiedTime"] > seen["CreationTime"]
    assert (await plane.invoke(name="E"))["name"] == "a"

    assert await plane.call("DeleteEndpoint", EndpointName="E") == {}
    assert (await plane.call("DescribeEndpoint", EndpointName="E"))["EndpointStatus"] == "Deleting"
    await plane.until_deleted("E")
    missing = f'Could not find endpoint "{ARN}:endpoint/e".'
    assert await plane.rejection("DescribeEndpoint", EndpointName="E") == missing
    assert await plane.rejection("DeleteEndpoint", EndpointName="E") == missing


async def test_single_model_endpoint(plane: ControlPlaneHarness) -> None:
    await plane.create_model(mode="SingleModel", url=f"file://{plane.models}/a.tar.gz")
    await plane.create_config()
    assert (await plane.create_endpoint())["EndpointStatus"] == "InService"
    assert (await plane.invoke(None))["name"] == "a"


async def test_endpoint_fails_when_its_container_exits(plane: ControlPlaneHarness) -> None:
    await plane.create_model(SMALL_EXIT="3")
    await plane.create_config()
    seen = await plane.create_endpoint()
    assert seen["EndpointStatus"] == "Failed"
    assert seen["FailureReason"].startswith(
        "The primary container for production variant AllTraffic did not pass the ping health check."
        " Please check CloudWatch logs for this endpoint."
    )
    assert "it cannot go on" in seen["FailureReason"]
    again = await plane.rejection("UpdateEndpoint", EndpointName="e", EndpointConfigName="c")
    assert "failed endpoint" in again
    await plane.call("DeleteEndpoint", EndpointName="e")
    await plane.until_deleted()


async def test_endpoint_fails_when_model_data_is_missing(plane: ControlPlaneHarness) -> None:
    url = f"file://{plane.models}/none.tar.gz"
    await plane.create_model(mode="SingleModel", url=url)
    await plane.create_config()
    seen = await plane.create_endpoint()
    assert seen["EndpointStatus"] == "Failed"
    assert seen["FailureReason"].startswith(
        f'Failed to download model data for container "container_1" from URL: "{url}". Please ensure that there is'
        " an object located at the URL and that the role passed to CreateModel has permissions to download the"
        " object."
    )


async def test_endpoint_fails_when_instances_cannot_have_disks(plane: ControlPlaneHarness) -> None:
    await plane.create_model()
    await plane.create_config()
    plane.platform.folder.rmdir()
    plane.platform.folder.write_text("a file where the disks should be")
    seen = await plane.create_endpoint()
    plane.platform.folder.unlink()
    plane.platform.folder.mkdir()
    assert seen["EndpointStatus"] == "Failed"
    assert seen["FailureReason"].startswith(
        "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error"
    )


async def test_traffic_is_split_by_weight(plane: ControlPlaneHarness) -> None:
    await plane.create_model()
    await plane.create_config(
        "c", variant("one", InitialVariantWeight=3), variant("none", InitialVariantWeight=0), variant("two")
    )
    await plane.create_endpoint()
    endpoint = plane.endpoint()
    chosen = [endpoint.choose(None).name for _ in range(2000)]
    assert 1350 < chosen.count("one") < 1650
    assert chosen.count("none") == 0
    assert endpoint.choose("none").name == "none"
    assert (await plane.invoke(target_variant="two"))["name"] == "a"


async def test_update_fails_no_request(plane: ControlPlaneHarness) -> None:
    await plane.create_model()
    await plane.create_config()
    await plane.create_config("new", variant(count=2))
    await plane.create_endpoint()
    before = (await plane.invoke())["pid"]
    pids: set[int] = set()
    done = asyncio.Event()

    async def load() -> None:
        while not done.is_set():
            pids.add((await plane.invoke("slow.tar.gz"))["pid"])

    callers = [asyncio.create_task(load()) for _ in range(4)]
    await plane.call("UpdateEndpoint", EndpointName="e", EndpointConfigName="new")
    seen = await plane.call("DescribeEndpoint", EndpointName="e")
    assert (seen["EndpointStatus"], seen["EndpointConfigName"]) == ("Updating", "c")
    assert seen["PendingDeploymentSummary"]["EndpointConfigName"] == "new"
    seen = await plane.until_settled()
    assert (seen["EndpointStatus"], seen["EndpointConfigName"]) == ("InService", "new")
    assert "PendingDeploymentSummary" not in seen
    assert seen["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    await plane.invoke()
    done.set()
    await asyncio.gather(*callers)
    assert before in pids
    assert (await plane.invoke())["pid"] != before


async def test_failed_update_keeps_the_old_fleet(plane: ControlPlaneHarness) -> None:
    await plane.create_model()
    await plane.create_model("bad", SMALL_EXIT="1")
    await plane.create_config()
    await plane.create_config("bad", variant(model="bad"))
    await plane.create_endpoint()
    before = (await plane.invoke())["pid"]
    await plane.call("UpdateEndpoint", EndpointName="e", EndpointConfigName="bad")
    seen = await plane.until_settled()
    assert (seen["EndpointStatus"], seen["EndpointConfigName"]) == ("InService", "c")
    assert "did not pass the ping health check" in seen["FailureReason"]
    assert (await plane.invoke())["pid"] == before
    await plane.call("UpdateEndpoint", EndpointName="e", EndpointConfigName="c")
    assert "FailureReason" not in await plane.until_settled()


async def test_weights_and_capacities_are_updated_and_retained(plane: ControlPlaneHarness) -> None:
    await plane.create_model()
    await plane.create_config("c", variant("a"), variant("b", count=2))
    await plane.create_config("next", variant("a", count=1), variant("b", count=1))
    await plane.create_endpoint()
    wanted = [
        {"VariantName": "a", "DesiredWeight": 0.5, "DesiredInstanceCount": 2},
        {"VariantName": "b", "DesiredInstanceCount": 1},
    ]
    made = await plane.call("UpdateEndpointWeightsAndCapacities", EndpointName="e", DesiredWeightsAndCapacities=wanted)
    assert made == {"EndpointArn": f"{ARN}:endpoint/e"}
    assert (await plane.call("DescribeEndpoint", EndpointName="e"))["EndpointStatus"] == "Updating"
    assert weights_and_counts(await plane.until_settled()) == {"a": (0.5, 0.5, 2, 2), "b": (1.0, 1.0, 1, 1)}

    async def rejection(**item: Any) -> str:
        return await plane.rejection(
            "UpdateEndpointWeightsAndCapacities", EndpointName="e", DesiredWeightsAndCapacities=[item]
        )

    assert 'variant name(s) "c" is/are not present' in await rejection(VariantName="c", DesiredWeight=1)
    assert "at least 1" in await rejection(VariantName="a", DesiredInstanceCount=0)

    update: dict[str, Any] = {"EndpointName": "e", "EndpointConfigName": "next", "RetainAllVariantProperties": True}
    excluded = [{"VariantPropertyType": "DesiredWeight"}]
    await plane.call("UpdateEndpoint", **update, ExcludeRetainedVariantProperties=excluded)
    assert weights_and_counts(await plane.until_settled()) == {"a": (1.0, 1.0, 2, 2), "b": (1.0, 1.0, 1, 1)}
