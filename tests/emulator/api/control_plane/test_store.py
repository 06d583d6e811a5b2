"""The saved state, as a restarted emulator finds it."""

import json
from pathlib import Path

import pytest

from polyhost.emulator.api.control_plane.store import ResourceKind, ResourceStore
from polyhost.emulator.errors import StartError
from tests.emulator.api.control_plane.harness import (
    REGION,
    running_control_plane,
    variant,
    weights_and_counts,
)
from tests.support.waiting import until


@pytest.mark.anyio
async def test_state_survives_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with running_control_plane(tmp_path, state) as plane:
        await plane.create_model()
        await plane.create_model("bad", SMALL_EXIT="1")
        await plane.create_config()
        await plane.create_config("bad", variant(model="bad"))
        await plane.create_endpoint()
        await plane.create_endpoint("failed", "bad")
        wanted = [{"VariantName": "AllTraffic", "DesiredWeight": 2, "DesiredInstanceCount": 2}]
        await plane.call("UpdateEndpointWeightsAndCapacities", EndpointName="e", DesiredWeightsAndCapacities=wanted)
        await plane.until_settled()
        await plane.call("DeleteEndpointConfig", EndpointConfigName="c")
        await plane.call("DeleteModel", ModelName="m")
        await plane.create_endpoint("leaving", "bad")
        await plane.call("DeleteEndpoint", EndpointName="leaving")
        await plane.call("UpdateEndpoint", EndpointName="e", EndpointConfigName="bad")  # cut short by the restart

    async with running_control_plane(tmp_path, state) as plane:
        seen = await plane.until_settled()
        assert (seen["EndpointStatus"], seen["EndpointConfigName"]) == ("InService", "c")
        assert weights_and_counts(seen) == {"AllTraffic": (2.0, 2.0, 2, 2)}
        assert (await plane.invoke())["name"] == "a"
        failed = await plane.until_settled("failed")
        assert failed["EndpointStatus"] == "Failed"
        assert "ping health check" in failed["FailureReason"]
        assert await plane.rejection("DescribeEndpoint", EndpointName="leaving")
        models = (await plane.call("ListModels"))["Models"]
        assert [model["ModelName"] for model in models] == ["bad"]


@pytest.mark.anyio
async def test_endpoint_closed_while_starting_starts_again(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with running_control_plane(tmp_path, state) as plane:
        await plane.create_model()
        await plane.create_model("unwell", SMALL_PING="500")
        await plane.create_config("c", variant("well"), variant("unwell", "unwell"))
        await plane.call("CreateEndpoint", EndpointName="e", EndpointConfigName="c")
        await until(lambda: any(event.message == "in service" for event in plane.platform.recorder.events))

    async with running_control_plane(tmp_path, state) as plane:
        assert (await plane.call("DescribeEndpoint", EndpointName="e"))["EndpointStatus"] == "Creating"


def test_unreadable_state_is_an_error_at_start(tmp_path: Path) -> None:
    (tmp_path / "resources.json").write_text("{")
    with pytest.raises(StartError, match=r"cannot read the saved state in .*resources.json .* another --state"):
        ResourceStore(tmp_path)


def test_unknown_kind_in_the_state_is_an_error_at_start(tmp_path: Path) -> None:
    resource = {"kind": "pipeline", "region": REGION, "name": "p", "request": {}, "created": 1.0, "modified": 1.0}
    (tmp_path / "resources.json").write_text(json.dumps({"resources": [resource], "tags": {}}))
    with pytest.raises(StartError, match="'pipeline' is not a valid ResourceKind"):
        ResourceStore(tmp_path)


@pytest.mark.anyio
async def test_an_endpoint_saved_by_an_earlier_version_is_restored(tmp_path: Path, anyio_backend: object) -> None:
    async with running_control_plane(tmp_path, tmp_path) as plane:
        await plane.create_model()
        await plane.create_config()
        await plane.create_endpoint()
    saved = json.loads((tmp_path / "resources.json").read_text())
    (endpoint,) = (item for item in saved["resources"] if item["kind"] == "endpoint")
    (variant,) = endpoint["changes"]["Variants"]
    (variant["container"],) = variant.pop("containers")  # one, without a name
    del variant["container"]["name"], variant["execution"]
    (tmp_path / "resources.json").write_text(json.dumps(saved))
    async with running_control_plane(tmp_path, tmp_path) as plane:
        await plane.until_settled()
        assert (await plane.invoke())["name"] == "a"


@pytest.mark.anyio
async def test_unreadable_endpoint_is_an_error_at_start(tmp_path: Path) -> None:
    async with running_control_plane(tmp_path, tmp_path) as plane:
        await plane.create_model()
        await plane.create_config()
        await plane.create_endpoint()
    saved = json.loads((tmp_path / "resources.json").read_text())
    (endpoint,) = (item for item in saved["resources"] if item["kind"] == "endpoint")
    del endpoint["changes"]["Variants"][0]["containers"][0]["image"]
    (tmp_path / "resources.json").write_text(json.dumps(saved))
    with pytest.raises(StartError, match=r"cannot restore endpoint e from the saved state .*image.* another --state"):
        async with running_control_plane(tmp_path, tmp_path):
            pass


def test_state_that_cannot_be_saved_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = ResourceStore(tmp_path)
    (tmp_path / "resources.json").mkdir()
    store.create(REGION, ResourceKind.MODEL, {"ModelName": "m"})
    assert store.get(REGION, "model", "m") is not None
    assert "cannot save the state" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["resources.json"]
