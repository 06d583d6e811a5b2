"""CreateModel, DescribeModel, DeleteModel."""

import pytest

from polyhost.emulator.errors import ValidationException
from tests.emulator.api.control_plane.harness import ARN, ROLE, ControlPlaneHarness

pytestmark = pytest.mark.anyio


async def test_model_is_created_described_and_deleted(plane: ControlPlaneHarness) -> None:
    assert await plane.create_model("My-Model") == {"ModelArn": f"{ARN}:model/my-model"}
    seen = await plane.call("DescribeModel", ModelName="My-Model")
    assert seen["PrimaryContainer"]["Mode"] == "MultiModel"
    assert seen["EnableNetworkIsolation"] is False
    assert seen["ExecutionRoleArn"] == ROLE
    assert "Tags" not in seen
    await plane.call("DeleteModel", ModelName="My-Model")
    message = f'Could not find model "{ARN}:model/my-model".'
    assert await plane.rejection("DescribeModel", ModelName="My-Model") == message
    assert await plane.rejection("DeleteModel", ModelName="My-Model") == message


async def test_names_are_unique_regardless_of_case(plane: ControlPlaneHarness) -> None:
    await plane.create_model("m")
    await plane.create_config("c")
    with pytest.raises(ValidationException) as caught:
        await plane.create_model("M")
    assert caught.value.message == f'Cannot create already existing model "{ARN}:model/m".'
    with pytest.raises(ValidationException) as caught:
        await plane.create_config("c")
    assert caught.value.message == (f'Cannot create already existing endpoint configuration "{ARN}:endpoint-config/c".')


async def test_regions_are_separate(plane: ControlPlaneHarness) -> None:
    await plane.create_model()
    assert (await plane.call("ListModels", region="us-west-2"))["Models"] == []


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"Mode": "MultiModel"}, "no Image"),
        ({"Image": "i", "Mode": "MultiModel"}, "needs ModelDataUrl"),
        ({"Image": "i", "ModelDataUrl": "https://example.org/models/"}, "no address of model data"),
        (None, "got 0"),
    ],
)
async def test_unsupported_model_is_rejected(
    plane: ControlPlaneHarness, container: dict[str, str] | None, message: str
) -> None:
    given = {"PrimaryContainer": container} if container else {}
    assert message in await plane.rejection("CreateModel", ModelName="m", **given)
