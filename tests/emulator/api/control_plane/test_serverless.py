"""Serverless variants: what AWS rejects, descriptions, updates, quotas and the saved state."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from polyhost.emulator.api.control_plane.serverless_rules import check_quotas
from polyhost.emulator.errors import ResourceLimitExceeded
from tests.emulator.api.control_plane.harness import (
    ROLE,
    ControlPlaneHarness,
    running_control_plane,
    variant,
)

pytestmark = pytest.mark.anyio


def serverless(name: str = "AllTraffic", model: str = "m", **members: Any) -> dict[str, Any]:
    """Return a variant; further members are those of ServerlessConfig."""
    config = {"MemorySizeInMB": 1024, "MaxConcurrency": 2} | members
    return {"VariantName": name, "ModelName": model, "ServerlessConfig": config}


@pytest.fixture
async def single(plane: ControlPlaneHarness) -> AsyncIterator[ControlPlaneHarness]:
    """Return a control plane with a single-model model `m`."""
    await plane.create_model("m", "SingleModel", f"file://{plane.models}/a.tar.gz")
    yield plane


@pytest.mark.parametrize(
    ("variants", "members", "words"),
    [
        ([serverless(MemorySizeInMB=1500)], {}, "valid values are 1024, 2048, 3072, 4096, 5120, 6144."),
        ([serverless(MemorySizeInMB=512)], {}, "memorySizeInMB' failed to satisfy constraint: Member must have value"),
        ([serverless(MemorySizeInMB=7168)], {}, "Member must have value less than or equal to 6144"),
        ([serverless(MaxConcurrency=201)], {}, "Member must have value less than or equal to 200"),
        ([serverless(MaxConcurrency=0)], {}, "Member must have value greater than or equal to 1"),
        ([serverless(ProvisionedConcurrency=3)], {}, "must be less than or equal to MaxConcurrency, which is 2."),
        ([{"VariantName": "v", "ModelName": "m", "ServerlessConfig": {}}], {}, "maxConcurrency' failed to satisfy"),
        (
            [serverless() | {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}],
            {},
            "has ServerlessConfig and InstanceType, InitialInstanceCount;",
        ),
        ([serverless() | {"VolumeSizeInGB": 5}], {}, "has ServerlessConfig and VolumeSizeInGB;"),
        ([serverless("a"), serverless("b")], {}, "does not support multiple production variants"),
        ([serverless("a"), variant("b")], {}, "does not support multiple production variants"),
        ([serverless("a")], {"ShadowProductionVariants": [variant("b")]}, "support ShadowProductionVariants,"),
        ([variant("a")], {"ShadowProductionVariants": [serverless("b")]}, "support ShadowProductionVariants,"),
        (
            [serverless()],
            {
                "DataCaptureConfig": {
                    "EnableCapture": True,
                    "InitialSamplingPercentage": 1,
                    "DestinationS3Uri": "s3://b/p",
                    "CaptureOptions": [{"CaptureMode": "Input"}],
                }
            },
            "does not support DataCaptureConfig, and",
        ),
        ([serverless()], {"EnableNetworkIsolation": True}, "does not support EnableNetworkIsolation, and"),
        (
            [serverless()],
            {"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://b/p"}}},
            "AsyncInferenceConfig",
        ),
        ([serverless(model="many")], {}, "support multi-model endpoints, which the model many of variant AllTraffic"),
        ([serverless(model="pipeline")], {}, "support inference pipelines and multi-container endpoints,"),
        ([serverless(model="isolated")], {}, "support network isolation,"),
        ([serverless(model="private")], {}, "support VPC configuration, private Docker registries,"),
    ],
)
async def test_what_a_config_may_not_have(
    single: ControlPlaneHarness, variants: list[dict[str, Any]], members: dict[str, Any], words: str
) -> None:
    container = {"Image": "image", "ModelDataUrl": f"file://{single.models}/a.tar.gz"}
    await single.create_model("many")
    models: dict[str, dict[str, Any]] = {
        "pipeline": {"Containers": [container, container]},
        "isolated": {"PrimaryContainer": container, "EnableNetworkIsolation": True},
        "private": {
            "PrimaryContainer": container | {"ImageConfig": {"RepositoryAccessMode": "Vpc"}},
            "VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]},
        },
    }
    for name, model in models.items():
        await single.call("CreateModel", ModelName=name, ExecutionRoleArn=ROLE, **model)
    message = await single.rejection(
        "CreateEndpointConfig", EndpointConfigName="c", ProductionVariants=variants, **members
    )
    assert words in message


async def test_a_serverless_endpoint_is_described_as_aws_does(single: ControlPlaneHarness) -> None:
    await single.create_config("c", serverless(ProvisionedConcurrency=1))
    config = await single.call("DescribeEndpointConfig", EndpointConfigName="c")
    capacity = {"MemorySizeInMB": 1024, "MaxConcurrency": 2, "ProvisionedConcurrency": 1}
    assert config["ProductionVariants"] == [
        serverless(ProvisionedConcurrency=1) | {"InitialVariantWeight": 1.0},
    ]
    await single.call("CreateEndpoint", EndpointName="e", EndpointConfigName="c")
    seen = await single.call("DescribeEndpoint", EndpointName="e")
    (summary,) = seen["ProductionVariants"]
    assert summary["DesiredServerlessConfig"] == capacity
    seen = await single.until_settled()
    assert seen["EndpointStatus"] == "InService"
    (summary,) = seen["ProductionVariants"]
    assert summary["CurrentServerlessConfig"] == capacity
    assert (summary["CurrentWeight"], summary["DesiredWeight"]) == (1.0, 1.0)
    assert summary["DeployedImages"][0]["SpecifiedImage"] == "image"
    assert not {"CurrentInstanceCount", "DesiredInstanceCount"} & set(summary)
    listed = await single.call("ListEndpoints", StatusEquals="InService")
    assert [item["EndpointName"] for item in listed["Endpoints"]] == ["e"]
    assert (await single.invoke(None))["name"] == "a"


async def test_updates_to_another_capacity_and_to_instances_but_not_back(single: ControlPlaneHarness) -> None:
    await single.create_config("c", serverless())
    await single.create_config("larger", serverless(MemorySizeInMB=2048, MaxConcurrency=5, ProvisionedConcurrency=1))
    await single.create_config("instances", variant(count=2))
    await single.create_endpoint()
    for name in ("larger", "instances"):
        await single.call("UpdateEndpoint", EndpointName="e", EndpointConfigName=name, RetainAllVariantProperties=True)
        seen = await single.until_settled()
        assert (seen["EndpointStatus"], seen["EndpointConfigName"]) == ("InService", name)
        (summary,) = seen["ProductionVariants"]
        if name == "larger":
            expected = {"MemorySizeInMB": 2048, "MaxConcurrency": 5, "ProvisionedConcurrency": 1}
            assert summary["CurrentServerlessConfig"] == expected
        else:
            assert summary["CurrentInstanceCount"] == 2
        assert (await single.invoke(None))["name"] == "a"
    message = await single.rejection("UpdateEndpoint", EndpointName="e", EndpointConfigName="c")
    assert "an instance-based endpoint cannot be converted to a serverless endpoint" in message


async def test_a_rolling_update_is_rejected(single: ControlPlaneHarness) -> None:
    await single.create_config("c", serverless())
    await single.create_endpoint()
    rolling = {
        "RollingUpdatePolicy": {
            "MaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 50},
            "WaitIntervalInSeconds": 0,
        }
    }
    message = await single.rejection(
        "UpdateEndpoint", EndpointName="e", EndpointConfigName="c", DeploymentConfig=rolling
    )
    assert "RollingUpdatePolicy is not supported for serverless endpoints" in message


async def _change(plane: ControlPlaneHarness, **members: Any) -> Any:
    item = {"VariantName": "AllTraffic"} | members
    await plane.call("UpdateEndpointWeightsAndCapacities", EndpointName="e", DesiredWeightsAndCapacities=[item])
    return await plane.until_settled()


async def test_the_concurrency_is_changed_in_place(single: ControlPlaneHarness) -> None:
    await single.create_config("c", serverless())
    await single.create_endpoint()
    before = single.endpoint().variants[0]
    seen = await _change(single, ServerlessUpdateConfig={"ProvisionedConcurrency": 2}, DesiredWeight=3)
    (summary,) = seen["ProductionVariants"]
    expected = {"MemorySizeInMB": 1024, "MaxConcurrency": 2, "ProvisionedConcurrency": 2}
    assert (summary["CurrentServerlessConfig"], summary["CurrentWeight"]) == (expected, 3)
    assert single.endpoint().variants == [before]
    assert [container["status"] for container in await before.fleet.snapshot()] == ["Warm", "Warm"]

    (single.models / "a.tar.gz").rename(single.models / "elsewhere")
    seen = await _change(single, ServerlessUpdateConfig={"MaxConcurrency": 4, "ProvisionedConcurrency": 4})
    assert seen["FailureReason"].startswith("Failed to download model data for container")
    assert seen["ProductionVariants"][0]["CurrentServerlessConfig"] == expected
    assert "DesiredServerlessConfig" not in seen["ProductionVariants"][0]


async def test_changes_that_do_not_fit_the_variant_are_rejected(single: ControlPlaneHarness) -> None:
    await single.create_config("c", serverless())
    await single.create_config("instances", variant())
    await single.create_endpoint()

    async def rejection(**members: Any) -> str:
        item = {"VariantName": "AllTraffic"} | members
        return await single.rejection(
            "UpdateEndpointWeightsAndCapacities", EndpointName="e", DesiredWeightsAndCapacities=[item]
        )

    assert "is serverless and has no instances" in await rejection(DesiredInstanceCount=2)
    too_many = {"MaxConcurrency": 1, "ProvisionedConcurrency": 2}
    assert "less than or equal to MaxConcurrency, which is 1" in await rejection(ServerlessUpdateConfig=too_many)
    await single.call("UpdateEndpoint", EndpointName="e", EndpointConfigName="instances")
    await single.until_settled()
    assert "is not serverless" in await rejection(ServerlessUpdateConfig={"MaxConcurrency": 1})


async def test_a_container_that_fails_its_health_check_fails_the_endpoint(plane: ControlPlaneHarness) -> None:
    await plane.create_model("m", "SingleModel", f"file://{plane.models}/a.tar.gz", SMALL_EXIT="3")
    await plane.create_config("c", serverless())
    seen = await plane.create_endpoint()
    assert seen["EndpointStatus"] == "Failed"
    assert seen["FailureReason"].startswith(
        "The primary container for production variant AllTraffic did not pass the ping health check."
    )
    assert "it cannot go on" in seen["FailureReason"]


async def test_the_total_concurrency_of_a_region_is_limited(single: ControlPlaneHarness) -> None:
    await single.create_config("c", serverless(MaxConcurrency=200))
    for number in range(5):  # eu-west-1 has 1,000
        await single.create_endpoint(f"e{number}")
    with pytest.raises(ResourceLimitExceeded) as caught:
        await single.call("CreateEndpoint", EndpointName="one-more", EndpointConfigName="c")
    assert caught.value.status == 400
    assert str(caught.value).startswith(
        "The account-level service limit 'Total concurrency across all serverless endpoints' is 1000 Invocations, with"
        " current utilization of 1000 Invocations and a request delta of 200 Invocations."
    )
    assert "Could not find endpoint" in await single.rejection("DescribeEndpoint", EndpointName="one-more")
    await single.create_config("small", serverless(MaxConcurrency=1))
    await single.call("UpdateEndpoint", EndpointName="e0", EndpointConfigName="small")
    await single.until_settled("e0")
    await single.create_endpoint("one-more", "small")


async def test_other_regions_have_half_of_it_and_each_has_fifty_endpoints(single: ControlPlaneHarness) -> None:
    await single.create_config("c", serverless(MaxConcurrency=1))
    await single.create_endpoint()
    one = single.endpoint()
    check_quotas("eu-west-1", [one] * 49, 200)
    with pytest.raises(ResourceLimitExceeded, match="'Number of serverless endpoints' is 50 Endpoints"):
        check_quotas("eu-west-1", [one] * 50, 1)
    check_quotas("eu-west-2", [one] * 49, 451)
    with pytest.raises(ResourceLimitExceeded, match="is 500 Invocations"):
        check_quotas("eu-west-2", [one] * 49, 452)


async def test_the_next_emulator_restores_the_changed_capacity(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with running_control_plane(tmp_path, state) as plane:
        await plane.create_model("m", "SingleModel", f"file://{plane.models}/a.tar.gz")
        await plane.create_config("c", serverless())
        await plane.create_endpoint()
        await _change(plane, ServerlessUpdateConfig={"MaxConcurrency": 7, "ProvisionedConcurrency": 1})
    async with running_control_plane(tmp_path, state) as plane:
        seen = await plane.until_settled()
        expected = {"MemorySizeInMB": 1024, "MaxConcurrency": 7, "ProvisionedConcurrency": 1}
        assert seen["ProductionVariants"][0]["CurrentServerlessConfig"] == expected
        assert (await plane.invoke(None))["name"] == "a"
