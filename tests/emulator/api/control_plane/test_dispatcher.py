"""Dispatch of operations, and shutting down."""

import asyncio

import pytest

from polyhost.emulator.errors import ServiceUnavailable, UnknownOperation
from polyhost.emulator.hosting.fleet import Fleet
from polyhost.model_cache.errors import ContainerGoneError
from tests.emulator.api.control_plane.harness import REGION, ControlPlaneHarness
from tests.emulator.archives import archive
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


async def test_unknown_and_unsupported_operations_are_rejected(plane: ControlPlaneHarness) -> None:
    with pytest.raises(UnknownOperation, match="MakeCoffee"):
        await plane.control_plane.call(REGION, "MakeCoffee", b"{}")
    with pytest.raises(UnknownOperation, match="does not support the operation ListTrainingJobs; it supports AddTags"):
        await plane.control_plane.call(REGION, "ListTrainingJobs", b"{}")


async def test_operations_are_rejected_while_shutting_down(plane: ControlPlaneHarness) -> None:
    await plane.create_model()
    await plane.create_config()
    closing = asyncio.create_task(plane.close())
    await asyncio.sleep(0)
    with pytest.raises(ServiceUnavailable, match="shutting down"):
        await plane.create_endpoint()
    await closing
    assert plane.registry.all() == []


async def test_close_does_not_wait_for_invocations(plane: ControlPlaneHarness) -> None:
    (plane.models / "stuck.tar.gz").write_bytes(archive("stuck", invoke_seconds=50))
    await plane.create_model()
    await plane.create_config()
    await plane.create_endpoint()
    stuck = asyncio.create_task(plane.invoke("stuck.tar.gz"))
    fleet = plane.endpoint().variants[0].fleet
    assert isinstance(fleet, Fleet)
    await until(lambda: any(instance.outstanding for instance in fleet.instances))
    await plane.call("DeleteEndpoint", EndpointName="e")
    async with asyncio.timeout(10):
        await plane.close()
        with pytest.raises(ContainerGoneError):
            await stuck
