"""Shadow variants in CreateEndpointConfig, DescribeEndpoint, updates and the saved state."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from polyhost.emulator.errors import ValidationError
from polyhost.emulator.hosting.shadow_copies import MessageLimit, ShadowCopies
from polyhost.emulator.hosting.traffic import choose_shadow, share
from tests.emulator.api.control_plane.harness import ControlPlaneHarness, running_control_plane, variant
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


async def _create_config(
    plane: ControlPlaneHarness, name: str, production: dict[str, Any], *shadows: dict[str, Any]
) -> None:
    members: dict[str, Any] = {"EndpointConfigName": name, "ProductionVariants": [production]}
    await plane.call("CreateEndpointConfig", **members, ShadowProductionVariants=[*shadows])


async def _create_single_model(plane: ControlPlaneHarness) -> None:
    url = f"file://{plane.models}/a.tar.gz"
    await plane.create_model("m", "SingleModel", url)


async def test_what_a_config_may_have_beside_a_shadow_variant(plane: ControlPlaneHarness) -> None:
    await _create_single_model(plane)
    await plane.create_model("many")
    await _create_config(plane, "c", variant("live"), variant("candidate", InitialVariantWeight=0.5))
    seen = await plane.call("DescribeEndpointConfig", EndpointConfigName="c")
    assert seen["ProductionVariants"] == [variant("live", InitialVariantWeight=1.0)]
    assert seen["ShadowProductionVariants"] == [variant("candidate", InitialVariantWeight=0.5)]

    for production, shadows, words in (
        ([variant("a"), variant("b")], [variant("s")], "only specify one variant for ProductionVariants and one"),
        ([variant("a")], [variant("s"), variant("t")], "one variant for ShadowProductionVariants, but got 1 and 2."),
        ([variant("a")], [variant("a")], "must be unique"),
        ([variant("a")], [variant("s", model="none")], "Could not find model"),
        ([variant("a")], [variant("s", model="many")], "variant s has a MultiModel container"),
        ([variant("a", model="many")], [variant("s")], "variant a has a MultiModel container"),
        ([variant("a")], [], "at 'shadowProductionVariants' failed to satisfy constraint"),
        ([variant("a")], [variant("s", InitialVariantWeight=-1)], "shadowProductionVariants.1.member.initialVariant"),
    ):
        message = await plane.rejection(
            "CreateEndpointConfig",
            EndpointConfigName="d",
            ProductionVariants=production,
            ShadowProductionVariants=shadows,
        )
        assert words in message


async def test_shadow_variant_is_described_updated_and_promoted(plane: ControlPlaneHarness) -> None:
    await _create_single_model(plane)
    await _create_config(plane, "c", variant("live", InitialVariantWeight=2), variant("candidate"))
    await plane.create_config("promoted", variant("candidate"))
    await plane.call("CreateEndpoint", EndpointName="e", EndpointConfigName="c")
    seen = await plane.call("DescribeEndpoint", EndpointName="e")
    assert seen["EndpointStatus"] == "Creating"
    assert [summary["VariantName"] for summary in seen["ProductionVariants"]] == ["live"]
    assert [summary["VariantName"] for summary in seen["ShadowProductionVariants"]] == ["candidate"]

    seen = await plane.until_settled()
    (shadow,) = seen["ShadowProductionVariants"]
    assert (shadow["VariantName"], shadow["CurrentWeight"], shadow["CurrentInstanceCount"]) == ("candidate", 1.0, 1)
    assert shadow["DeployedImages"][0]["SpecifiedImage"] == "image"
    endpoint = plane.endpoint()
    assert {endpoint.choose(None).name for _ in range(100)} == {"live"}
    with pytest.raises(ValidationError, match="Variant candidate not found"):
        endpoint.choose("candidate")
    assert 850 < sum(choose_shadow(endpoint.variants) is not None for _ in range(2000)) < 1150
    assert [share(item, endpoint.variants) for item in endpoint.variants] == [1.0, 0.5]

    for weights, expected in (((2, 0), 0.0), ((2, 5), 1.0), ((0, 1), 1.0), ((0, 0), 0.0)):
        desired = [
            {"VariantName": name, "DesiredWeight": weight}
            for name, weight in zip(("live", "candidate"), weights, strict=True)
        ]
        await plane.call("UpdateEndpointWeightsAndCapacities", EndpointName="e", DesiredWeightsAndCapacities=desired)
        seen = await plane.until_settled()
        assert seen["ShadowProductionVariants"][0]["CurrentWeight"] == weights[1]
        assert share(endpoint.variants[1], endpoint.variants) == expected
        assert (choose_shadow(endpoint.variants) is not None) == bool(expected)

    old_shadow = endpoint.variants[1].fleet
    await plane.call("UpdateEndpoint", EndpointName="e", EndpointConfigName="promoted")
    assert "ShadowProductionVariants" not in (await plane.until_settled())
    assert endpoint.choose("candidate").name == "candidate"
    assert choose_shadow(endpoint.variants) is None
    assert old_shadow.successor is None  # a copy must not become an invocation of the promoted variant


async def test_pending_deployment_has_the_shadow_variant(plane: ControlPlaneHarness) -> None:
    await _create_single_model(plane)
    await plane.create_config("c", variant("live"))
    await _create_config(plane, "next", variant("live"), variant("candidate"))
    await plane.create_endpoint()
    await plane.call("UpdateEndpoint", EndpointName="e", EndpointConfigName="next")
    pending = (await plane.call("DescribeEndpoint", EndpointName="e"))["PendingDeploymentSummary"]
    assert [summary["VariantName"] for summary in pending["ProductionVariants"]] == ["live"]
    assert [summary["VariantName"] for summary in pending["ShadowProductionVariants"]] == ["candidate"]
    seen = await plane.until_settled()
    assert [summary["VariantName"] for summary in seen["ShadowProductionVariants"]] == ["candidate"]


async def test_a_restarted_emulator_has_the_shadow_variant(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with running_control_plane(tmp_path, state) as plane:
        await _create_single_model(plane)
        await _create_config(plane, "c", variant("live"), variant("candidate"))
        await plane.create_endpoint()
    async with running_control_plane(tmp_path, state) as plane:
        seen = await plane.until_settled()
        assert [summary["VariantName"] for summary in seen["ProductionVariants"]] == ["live"]
        assert [summary["VariantName"] for summary in seen["ShadowProductionVariants"]] == ["candidate"]


def test_a_repeated_message_is_passed_on_once_a_minute() -> None:
    now = 0.0
    limit = MessageLimit(lambda: now)
    assert [limit.due() for _ in range(4)] == [True, False, False, False]
    now = 61.0
    assert limit.due()
    assert limit.describe() == " (3 more since the last message)"
    assert limit.describe() == ""


async def test_copies_are_limited_in_number_and_size() -> None:
    copies, release = ShadowCopies(max_copies=2, max_bytes=10), asyncio.Event()

    async def wait() -> None:
        await release.wait()

    assert copies.has_room(11)  # one may be larger
    copies.start(wait(), 4)
    assert copies.has_room(6)
    assert not copies.has_room(7)
    copies.start(wait(), 6)
    assert not copies.has_room(0)
    release.set()
    await until(lambda: not copies.in_flight)
    copies.start(wait(), 1)
    assert copies.has_room(9)
    assert not copies.has_room(10)
    copies.cancel()
    await until(lambda: not copies.in_flight)
