"""AsyncInferenceConfig in the operations on endpoint configurations and endpoints."""

from typing import Any

import pytest

from tests.emulator.api.control_plane.harness import ROLE, ControlPlaneHarness, variant, weights_and_counts

pytestmark = pytest.mark.anyio

PLAIN = {"OutputConfig": {"S3OutputPath": "s3://bucket/out"}}
FULL = {
    "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 7},
    "OutputConfig": {
        "S3OutputPath": "s3://bucket/out",
        "S3FailurePath": "s3://bucket/failed",
        "KmsKeyId": "alias/key",
        "NotificationConfig": {"IncludeInferenceResponseIn": ["SUCCESS_NOTIFICATION_TOPIC"]},
    },
}


async def _create_config(plane: ControlPlaneHarness, name: str, config: Any, *variants: Any, **members: Any) -> Any:
    variants = variants or (variant(model="single"),)
    return await plane.call(
        "CreateEndpointConfig",
        EndpointConfigName=name,
        ProductionVariants=[*variants],
        AsyncInferenceConfig=config,
        **members,
    )


async def _create_model(plane: ControlPlaneHarness) -> None:
    await plane.create_model("single", "SingleModel", f"file://{plane.models}/a.tar.gz")


async def test_endpoint_and_config_are_described_with_it(plane: ControlPlaneHarness) -> None:
    await _create_model(plane)
    await _create_config(plane, "full", FULL)
    seen = await plane.call("DescribeEndpointConfig", EndpointConfigName="full")
    assert seen["AsyncInferenceConfig"] == FULL
    await plane.call("CreateEndpoint", EndpointName="e", EndpointConfigName="full")
    for _ in range(2):  # while it is being created, and in service
        assert (await plane.call("DescribeEndpoint", EndpointName="e"))["AsyncInferenceConfig"] == FULL
        await plane.until_settled()


async def test_endpoint_changes_to_and_from_it(plane: ControlPlaneHarness) -> None:
    await _create_model(plane)
    await plane.create_config("real-time", variant(model="single"))
    await _create_config(plane, "plain", PLAIN)
    assert "AsyncInferenceConfig" not in await plane.create_endpoint("e", "real-time")
    for config, expected in (("plain", PLAIN), ("real-time", None)):
        await plane.call("UpdateEndpoint", EndpointName="e", EndpointConfigName=config)
        assert (await plane.until_settled()).get("AsyncInferenceConfig") == expected


async def test_only_an_asynchronous_endpoint_may_have_no_instances(plane: ControlPlaneHarness) -> None:
    await _create_model(plane)
    await plane.create_config("real-time", variant(model="single"))
    await _create_config(plane, "plain", PLAIN)
    await plane.create_endpoint("e", "real-time")
    none = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 0}]
    rejected = await plane.rejection(
        "UpdateEndpointWeightsAndCapacities", EndpointName="e", DesiredWeightsAndCapacities=none
    )
    assert rejected == "DesiredInstanceCount of variant AllTraffic must be at least 1."
    await plane.create_endpoint("a", "plain")
    await plane.call("UpdateEndpointWeightsAndCapacities", EndpointName="a", DesiredWeightsAndCapacities=none)
    assert weights_and_counts(await plane.until_settled("a")) == {"AllTraffic": (1.0, 1.0, 0, 0)}

    retained: dict[str, Any] = {"EndpointName": "a", "RetainAllVariantProperties": True}
    await plane.call("UpdateEndpoint", EndpointConfigName="plain", **retained)
    assert weights_and_counts(await plane.until_settled("a")) == {"AllTraffic": (1.0, 1.0, 0, 0)}
    rejected = await plane.rejection("UpdateEndpoint", EndpointConfigName="real-time", **retained)
    assert rejected.startswith("Variant AllTraffic has no instances now, which only asynchronous endpoints may have")
    excluded = [{"VariantPropertyType": "DesiredInstanceCount"}]
    await plane.call(
        "UpdateEndpoint", EndpointConfigName="real-time", ExcludeRetainedVariantProperties=excluded, **retained
    )
    assert weights_and_counts(await plane.until_settled("a")) == {"AllTraffic": (1.0, 1.0, 1, 1)}


async def test_what_does_not_go_with_it_is_rejected(plane: ControlPlaneHarness) -> None:
    await _create_model(plane)
    await plane.create_model("many")
    container = {"Image": "image", "ModelDataUrl": f"file://{plane.models}/a.tar.gz"}
    await plane.call("CreateModel", ModelName="two", Containers=[container, container], ExecutionRoleArn=ROLE)
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 10,
        "DestinationS3Uri": "s3://bucket/captured",
        "CaptureOptions": [{"CaptureMode": "Input"}],
    }

    async def rejection(*variants: Any, **members: Any) -> str:
        return await plane.rejection(
            "CreateEndpointConfig",
            EndpointConfigName="c",
            ProductionVariants=[*variants],
            AsyncInferenceConfig=PLAIN,
            **members,
        )

    one = variant(model="single")
    for reason, message in (
        ("ShadowProductionVariants", await rejection(one, ShadowProductionVariants=[variant("s", model="single")])),
        ("more than one production variant", await rejection(one, variant("b", model="single"))),
        ("DataCaptureConfig", await rejection(one, DataCaptureConfig=capture)),
        ("a MultiModel container", await rejection(variant(model="many"))),
        ("a model of several containers", await rejection(variant(model="two"))),
    ):
        assert message == (
            "One or more endpoint features are not supported using this configuration. AsyncInferenceConfig does not go"
            f" with {reason}; leave one of them out."
        )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"OutputConfig": {"S3OutputPath": "https://example.com/out"}}, "S3OutputPath 'https://example.com/out' is no"),
        ({"OutputConfig": {"S3FailurePath": "https://x"}}, "S3FailurePath 'https://x' is no address in S3; use s3://"),
        ({"OutputConfig": {"S3OutputPath": "ftp://x/y"}}, "Member must satisfy regular expression pattern"),
        ({}, "Value null at 'asyncInferenceConfig.outputConfig' failed to satisfy constraint: Member must not be null"),
        (PLAIN | {"ClientConfig": {"MaxConcurrentInvocationsPerInstance": 1001}}, "less than or equal to 1000"),
        ({"OutputConfig": {"NotificationConfig": {"ErrorTopic": "topic"}}}, "notificationConfig.errorTopic"),
        ({"OutputConfig": {"NotificationConfig": {"IncludeInferenceResponseIn": ["x"]}}}, "enum value set"),
    ],
)
async def test_invalid_members_are_rejected(plane: ControlPlaneHarness, config: Any, message: str) -> None:
    await _create_model(plane)
    seen = await plane.rejection(
        "CreateEndpointConfig",
        EndpointConfigName="c",
        ProductionVariants=[variant(model="single")],
        AsyncInferenceConfig=config,
    )
    assert message in seen


async def test_a_topic_that_takes_no_test_is_rejected(plane: ControlPlaneHarness) -> None:
    """The harness has no SNS at all."""
    await _create_model(plane)
    topic = "arn:aws:sns:eu-west-1:123456789012:none"
    await _create_config(plane, "c", {"OutputConfig": {"NotificationConfig": {"SuccessTopic": topic}}})
    message = await plane.rejection("CreateEndpoint", EndpointName="e", EndpointConfigName="c")
    assert message.startswith(f"The test notification failed: cannot publish to the topic {topic}: ")
    assert (await plane.call("ListEndpoints"))["Endpoints"] == []
