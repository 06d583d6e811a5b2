"""CreateEndpointConfig, DescribeEndpointConfig, DeleteEndpointConfig."""

from typing import Any

import pytest

from tests.emulator.api.control_plane.harness import ARN, ControlPlaneHarness, variant

pytestmark = pytest.mark.anyio


async def test_config_is_created_described_and_deleted(plane: ControlPlaneHarness) -> None:
    await plane.create_model()
    assert await plane.create_config("C") == {"EndpointConfigArn": f"{ARN}:endpoint-config/c"}
    seen = await plane.call("DescribeEndpointConfig", EndpointConfigName="C")
    assert seen["EndpointConfigName"] == "C"
    assert seen["ProductionVariants"] == [variant(InitialVariantWeight=1.0)]
    await plane.call("DeleteEndpointConfig", EndpointConfigName="C")
    message = f'Could not find endpoint configuration "{ARN}:endpoint-config/c".'
    assert await plane.rejection("DescribeEndpointConfig", EndpointConfigName="C") == message
    assert await plane.rejection("CreateEndpoint", EndpointName="e", EndpointConfigName="C") == message


async def test_invalid_or_unsupported_config_is_rejected(plane: ControlPlaneHarness) -> None:
    async def rejection(*variants: dict[str, Any], **members: Any) -> str:
        return await plane.rejection(
            "CreateEndpointConfig", EndpointConfigName="c", ProductionVariants=[*variants], **members
        )

    await plane.create_model()
    assert await rejection(variant(model="none")) == f'Could not find model "{ARN}:model/none".'
    assert "unique" in await rejection(variant(), variant())
    message = await rejection(variant(), variant("b", InstanceType="ml.p5.48xlarge"))
    assert message.startswith("Variant b: the emulator does not know the memory of ml.p5.48xlarge; it knows the")
    assert "needs InstanceType and InitialInstanceCount, or ServerlessConfig" in await rejection(
        {"VariantName": "v", "ModelName": "m"}
    )
    for member, value in (
        ("ManagedInstanceScaling", {"Status": "ENABLED", "MinInstanceCount": 1, "MaxInstanceCount": 2}),
        ("InstancePools", [{"InstanceType": "ml.m5.large", "Priority": 1}]),
    ):
        assert await rejection(variant() | {member: value}) == (
            f"Variant AllTraffic has {member}, which the emulator does not support; leave it out. To scale a variant,"
            " register it with Application Auto Scaling."
        )
