"""AddTags, ListTags, DeleteTags."""

import pytest

from tests.emulator.api.control_plane.harness import ARN, ControlPlaneHarness, variant

pytestmark = pytest.mark.anyio


async def test_tags_are_added_listed_and_deleted(plane: ControlPlaneHarness) -> None:
    await plane.create_model()
    arn = (
        await plane.call(
            "CreateEndpointConfig",
            EndpointConfigName="c",
            ProductionVariants=[variant()],
            Tags=[{"Key": "team", "Value": "a"}],
        )
    )["EndpointConfigArn"]
    added = await plane.call(
        "AddTags", ResourceArn=arn, Tags=[{"Key": "team", "Value": "b"}, {"Key": "k", "Value": ""}]
    )
    assert added == {"Tags": [{"Key": "team", "Value": "b"}, {"Key": "k", "Value": ""}]}
    assert await plane.call("DeleteTags", ResourceArn=arn, TagKeys=["k", "unknown"]) == {}
    assert await plane.call("ListTags", ResourceArn=arn) == {"Tags": [{"Key": "team", "Value": "b"}]}
    missing = f"{ARN}:endpoint/none"
    assert await plane.rejection("ListTags", ResourceArn=missing) == f'Could not find endpoint "{missing}".'
