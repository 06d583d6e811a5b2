"""The List operations: filters, order, list pages."""

from typing import Any

import pytest

from tests.emulator.api.control_plane.harness import ControlPlaneHarness, variant

pytestmark = pytest.mark.anyio


async def test_lists_are_filtered_sorted_and_paginated(plane: ControlPlaneHarness) -> None:
    for name in ("b1", "a1", "b2", "a2", "c1"):
        await plane.create_model(name)

    async def names(**members: Any) -> list[str]:
        return [model["ModelName"] for model in (await plane.call("ListModels", **members))["Models"]]

    assert await names() == ["c1", "a2", "b2", "a1", "b1"]
    assert await names(SortOrder="Ascending") == ["b1", "a1", "b2", "a2", "c1"]
    assert await names(SortBy="Name") == ["c1", "b2", "b1", "a2", "a1"]
    assert await names(NameContains="1", SortBy="Name", SortOrder="Ascending") == ["a1", "b1", "c1"]
    middle = (await plane.call("DescribeModel", ModelName="b2"))["CreationTime"].timestamp()
    assert await names(CreationTimeAfter=middle - 1e-5, CreationTimeBefore=middle + 1e-5) == ["b2"]

    pages: list[list[str]] = []
    token: dict[str, Any] = {}
    while True:
        response = await plane.call("ListModels", SortBy="Name", MaxResults=2, **token)
        pages.append([model["ModelName"] for model in response["Models"]])
        if "NextToken" not in response:
            break
        token = {"NextToken": response["NextToken"]}
        if len(pages) == 1:
            await plane.call("DeleteModel", ModelName="b2")  # the last one of the previous list page
    assert pages == [["c1", "b2"], ["b1", "a2"], ["a1"]]
    for bad in ("nonsense", "é", "W10="):
        assert "NextToken" in await plane.rejection("ListModels", NextToken=bad)


async def test_configs_and_endpoints_are_listed(plane: ControlPlaneHarness) -> None:
    await plane.create_model()
    await plane.create_model("bad", SMALL_EXIT="1")
    await plane.create_config()
    await plane.create_config("bad", variant(model="bad"))
    configs = (await plane.call("ListEndpointConfigs", SortBy="Name"))["EndpointConfigs"]
    assert [config["EndpointConfigName"] for config in configs] == ["c", "bad"]
    await plane.create_endpoint("good")
    await plane.create_endpoint("failed", "bad")

    async def names(**members: Any) -> list[str]:
        return [item["EndpointName"] for item in (await plane.call("ListEndpoints", **members))["Endpoints"]]

    assert await names() == ["failed", "good"]
    assert await names(StatusEquals="Failed") == ["failed"]
    assert await names(SortBy="Status", SortOrder="Ascending") == ["failed", "good"]
    assert await names(LastModifiedTimeBefore=1) == []
