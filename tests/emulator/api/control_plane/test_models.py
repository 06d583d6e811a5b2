"""CreateModel, DescribeModel, DeleteModel."""

import pytest

from polyhost.emulator.errors import ValidationException
from tests.emulator.api.control_plane.harness import ARN, ROLE, ControlPlaneHarness, variant

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
        (None, "needs a container"),
    ],
)
async def test_unsupported_model_is_rejected(
    plane: ControlPlaneHarness, container: dict[str, str] | None, message: str
) -> None:
    given = {"PrimaryContainer": container} if container else {}
    assert message in await plane.rejection("CreateModel", ModelName="m", **given)


def _containers(*names: str | None, **members: str) -> list[dict[str, str]]:
    return [{"Image": "i"} | ({"ContainerHostname": name} if name else {}) | members for name in names]


MULTI_MODEL = {"Mode": "MultiModel", "ModelDataUrl": "s3://b/p/"}


@pytest.mark.parametrize(
    ("containers", "mode", "message"),
    [
        (_containers("a", "b", "a"), None, "ContainerHostname must be unique, but got a, b, a."),
        (_containers("a", None), None, "Container 2 has no ContainerHostname; others of the model have one."),
        (_containers(None, "b"), "Serial", "Container 1 has no ContainerHostname; others of the model have one."),
        (
            _containers(None, None),
            "Direct",
            "Container 1 has no ContainerHostname; Mode Direct calls containers by it.",
        ),
        (
            _containers("a"),
            "Direct",
            "InferenceExecutionConfig of Mode Direct is for Containers, of which it needs two.",
        ),
        (
            _containers("a", "b", **MULTI_MODEL),
            "Serial",
            "More than one container in MultiModel mode is not supported with inference pipeline.",
        ),
        (_containers("-a", "b"), None, "at 'containers.1.member.containerHostname' failed to satisfy constraint"),
        (
            _containers(*map(str, range(16))),
            None,
            "at 'containers' failed to satisfy constraint: Member must have length",
        ),
        (_containers("a", "b"), "Parallel", "at 'inferenceExecutionConfig.mode' failed to satisfy constraint"),
        ([{"ContainerHostname": "a"}, {"Image": "i", "ContainerHostname": "b"}], None, "no Image"),
    ],
)
async def test_invalid_containers_are_rejected(
    plane: ControlPlaneHarness, containers: list[dict[str, str]], mode: str | None, message: str
) -> None:
    how = {"InferenceExecutionConfig": {"Mode": mode}} if mode else {}
    assert message in await plane.rejection("CreateModel", ModelName="m", Containers=containers, **how)
    assert (await plane.call("ListModels"))["Models"] == []


async def test_the_environments_of_all_containers_have_32_kb(plane: ControlPlaneHarness) -> None:
    def containers(count: int) -> list[dict[str, object]]:
        half = {f"NAME_{number:03}": "v" * 1016 for number in range(count)}  # 1,024 bytes each, with the key
        return [{"Image": "i", "Environment": half}, {"Image": "i", "Environment": half}]

    await plane.call("CreateModel", ModelName="m", Containers=containers(16))
    assert await plane.rejection("CreateModel", ModelName="n", Containers=containers(17)) == (
        "The keys and values of Environment have 34816 bytes in all containers together; at most 32768 are allowed."
    )


async def test_primary_container_and_containers_exclude_each_other(plane: ControlPlaneHarness) -> None:
    given = {"PrimaryContainer": {"Image": "i"}, "Containers": _containers("a")}
    assert "but not both" in await plane.rejection("CreateModel", ModelName="m", **given)


async def test_several_containers_are_described_as_given(plane: ControlPlaneHarness) -> None:
    for name, containers, mode in (
        ("unnamed", _containers(*[None] * 15), "Serial"),
        ("named", [*_containers("a", **MULTI_MODEL), *_containers("b", **MULTI_MODEL)], "Direct"),
    ):
        how = {"Mode": mode}
        await plane.call("CreateModel", ModelName=name, Containers=containers, InferenceExecutionConfig=how)
        seen = await plane.call("DescribeModel", ModelName=name)
        assert (seen["Containers"], seen["InferenceExecutionConfig"]) == (containers, how)
        await plane.create_config(name, variant(model=name))
