"""DeploymentConfig: what is rejected, and the steps that the rest means."""

from typing import Any

import pytest

from polyhost.emulator.api.control_plane.deployment_configs import deployment_policy
from polyhost.emulator.hosting.interfaces import VariantSpec
from tests.emulator.api.control_plane.harness import ControlPlaneHarness, variant
from tests.emulator.hosting.deployment.harness import blue_green, canary, guarded, linear, rolling


def spec(name: str, count: int, weight: float = 1.0) -> VariantSpec:
    return VariantSpec(name, (), "ml.m5.large", count, weight, 0)


@pytest.mark.parametrize(
    ("config", "counts", "expected"),
    [
        (canary(10), [1], [0.1, 1.0]),
        (linear(30, 0), [1], [0.3, 0.6, 0.9, 1.0]),
        (linear(10, 0), [1], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        (blue_green("CANARY", 0, {"CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1}}), [4], [0.25, 1.0]),
        (blue_green("CANARY", 0, {"CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1}}), [4, 2], [0.375, 1.0]),
        (blue_green("LINEAR", 0, {"LinearStepSize": {"Type": "INSTANCE_COUNT", "Value": 1}}), [3], [1 / 3, 2 / 3, 1]),
        (blue_green("ALL_AT_ONCE", 0), [3], [1.0]),
        (None, [1], [1.0]),
    ],
)
def test_shares_of_the_traffic(config: dict[str, Any] | None, counts: list[int], expected: list[float]) -> None:
    specs = [spec(str(number), count) for number, count in enumerate(counts)]
    assert deployment_policy(config).shares(specs) == pytest.approx(expected)


def test_shares_of_variants_with_weights() -> None:
    size = {"CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1}}
    specs = [spec("a", 4, 3.0), spec("b", 2, 1.0)]  # a quarter of three quarters, half of a quarter
    assert deployment_policy(blue_green("CANARY", 0, size)).shares(specs) == pytest.approx([0.3125, 1.0])


def test_waits_are_those_of_each_step_and_of_the_end() -> None:
    assert deployment_policy(canary(10, 60, TerminationWaitInSeconds=5)).waits_s([spec("a", 1)]) == 125
    assert deployment_policy(linear(25, 60)).waits_s([spec("a", 1)]) == 240
    assert deployment_policy(rolling(50, 60)).waits_s([spec("a", 5)]) == 180


def _sized(kind: str, member: str, unit: str, value: int) -> dict[str, Any]:
    return blue_green(kind, 0, {member: {"Type": unit, "Value": value}})


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("config", "words"),
    [
        (canary(10) | rolling(10, 0), "either BlueGreenUpdatePolicy or RollingUpdatePolicy"),
        (blue_green("CANARY", 0), "of Type CANARY must have CanarySize"),
        (blue_green("LINEAR", 0), "of Type LINEAR must have LinearStepSize"),
        (_sized("LINEAR", "CanarySize", "CAPACITY_PERCENT", 10), "of Type LINEAR must not have CanarySize"),
        (_sized("ALL_AT_ONCE", "CanarySize", "CAPACITY_PERCENT", 10), "of Type ALL_AT_ONCE must not have CanarySize"),
        (canary(51), "CanarySize must be between 1% and 50% of the total instance count"),
        (linear(9, 0), "LinearStepSize must be between 10% and 50%"),
        (rolling(4, 0), "MaximumBatchSize must be between 5% and 50%"),
        (rolling(51, 0), "MaximumBatchSize must be between 5% and 50%"),
        (_sized("CANARY", "CanarySize", "INSTANCE_COUNT", 2), "is 67% of variant AllTraffic, which has 3"),
        (_sized("CANARY", "CanarySize", "INSTANCE_COUNT", 4), "CanarySize is 4 instances; variant AllTraffic has 3"),
        (
            rolling(50, 0, RollbackMaximumBatchSize={"Type": "CAPACITY_PERCENT", "Value": 101}),
            "RollbackMaximumBatchSize must be between 5% and 100%",
        ),
        (
            linear(10, 60, MaximumExecutionTimeoutInSeconds=600),
            "MaximumExecutionTimeoutInSeconds is 600; it must be greater than the total waiting time of the deployment,"
            " which is 600 seconds",
        ),
        (canary(10, 3601), "Value '3601' at 'deploymentConfig.blueGreenUpdatePolicy.trafficRoutingConfiguration"),
        (guarded({}, "none"), 'Could not find alarm "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:none"'),
        (guarded({}, *map(str, range(11))), "Member must have length less than or equal to 10"),
    ],
)
async def test_configs_that_cannot_be_deployed_are_rejected(
    plane: ControlPlaneHarness, config: dict[str, Any], words: str
) -> None:
    await plane.create_model()
    await plane.create_config()
    await plane.create_config("three", variant(count=3))
    await plane.create_endpoint()
    update = {"EndpointName": "e", "EndpointConfigName": "three", "DeploymentConfig": config}
    assert words in await plane.rejection("UpdateEndpoint", **update)
    seen = await plane.call("DescribeEndpoint", EndpointName="e")
    assert (seen["EndpointStatus"], seen["EndpointConfigName"]) == ("InService", "c")
    assert "LastDeploymentConfig" not in seen


@pytest.mark.anyio
async def test_the_last_config_is_described_and_may_be_used_again(plane: ControlPlaneHarness) -> None:
    await plane.create_model()
    await plane.create_config()
    await plane.create_endpoint()
    config = canary(50, 0)
    update: dict[str, Any] = {"EndpointName": "e", "EndpointConfigName": "c"}
    await plane.call("UpdateEndpoint", **update, DeploymentConfig=config)
    assert (await plane.until_settled())["LastDeploymentConfig"] == config
    await plane.call("UpdateEndpoint", **update, RetainDeploymentConfig=True)
    assert plane.endpoint().rollout is not None
    assert plane.endpoint().rollout.summary()["strategy"] == "CANARY"  # type: ignore[union-attr]
    assert (await plane.until_settled())["LastDeploymentConfig"] == config
    await plane.call("UpdateEndpoint", **update)
    assert "LastDeploymentConfig" not in await plane.until_settled()
