"""Several instances: the choice for an invocation, killed containers, growing and shrinking."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from polyhost.emulator.errors import ContainerError
from polyhost.emulator.hosting.fleet import SPREAD_AT, Fleet
from polyhost.emulator.hosting.interfaces import ContainerResponse, Platform
from polyhost.emulator.telemetry.recorder import Event
from polyhost.model_cache.errors import ContainerGoneError
from tests.emulator.hosting.harness import (
    DEADLINE_S,
    recorded,
    request_for,
    running_platform,
    upload,
    variant_spec,
)
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def running(folder: Path, instances: int = 2, **settings: Any) -> AsyncIterator[tuple[Fleet, Platform]]:
    async with running_platform(folder) as given:
        fleet = Fleet(given, "us-east-1", "e", variant_spec(folder, instances, **settings))
        await fleet.start()
        try:
            yield fleet, given
        finally:
            await fleet.stop()
            assert list((folder / "instances").iterdir()) == []


def pid(response: ContainerResponse) -> int:
    assert response.status == 200
    return int(json.loads(response.body)["pid"])


async def test_invocations_go_to_the_instance_that_has_their_model(tmp_path: Path) -> None:
    upload(tmp_path, "a", "b")
    async with running(tmp_path) as (fleet, given):
        pids = {name: {pid(await fleet.invoke(request_for(name))) for _ in range(10)} for name in ("a", "b")}
        assert len(pids["a"]) == len(pids["b"]) == 1
        assert pids["a"] != pids["b"]  # the emptier instance took the second model
        assert sorted(recorded(given, "loaded")) == ["a", "b"]


async def test_an_overloaded_model_is_loaded_on_a_second_instance(tmp_path: Path) -> None:
    upload(tmp_path, "a", invoke_seconds=0.3)
    async with running(tmp_path) as (fleet, given):
        await fleet.invoke(request_for("a"))
        responses = await asyncio.gather(*(fleet.invoke(request_for("a")) for _ in range(SPREAD_AT * 3)))
        assert len({pid(response) for response in responses}) == 2
        assert recorded(given, "loaded") == ["a", "a"]


async def test_a_killed_container_fails_only_invocations_in_flight(tmp_path: Path) -> None:
    names = [f"m{number}" for number in range(6)]
    upload(tmp_path, *names, invoke_seconds=0.01)
    async with running(tmp_path) as (fleet, _given):
        stop, failed, answered = asyncio.Event(), 0, 0

        async def client(name: str) -> None:
            nonlocal failed, answered
            while not stop.is_set():
                try:
                    pid(await fleet.invoke(request_for(name)))
                    answered += 1
                except ContainerGoneError:
                    failed += 1

        clients = [asyncio.create_task(client(name)) for name in names]
        await until(lambda: answered > 100)
        victim = fleet.instances[0]
        in_flight = victim.outstanding
        await victim.containers[0].keeper.kill()
        await until(lambda: victim.containers[0].keeper.restarts == 1)
        seen = answered
        await until(lambda: answered > seen + 100)
        stop.set()
        await asyncio.gather(*clients)
        assert failed <= in_flight


async def test_a_container_killed_during_a_load_fails_no_invocation(tmp_path: Path) -> None:
    upload(tmp_path, "a", load_seconds=0.4)
    async with running(tmp_path) as (fleet, given):
        kills: list[asyncio.Task[None]] = []

        def kill_first(event: Event) -> None:
            if event.kind == "downloaded" and not kills:
                victim = next(instance for instance in fleet.instances if instance.outstanding)
                kills.append(asyncio.create_task(victim.containers[0].keeper.kill()))

        given.recorder.listen(on_event=kill_first)
        assert (await fleet.invoke(request_for("a"))).status == 200
        await kills[0]
        assert len(recorded(given, "restarted")) == 1


async def test_an_invocation_waits_while_the_only_instance_restarts(tmp_path: Path) -> None:
    upload(tmp_path, "a")
    async with running(tmp_path, instances=1) as (fleet, _given):
        before = pid(await fleet.invoke(request_for("a")))
        await fleet.instances[0].containers[0].keeper.kill()
        await until(lambda: not fleet.instances[0].in_service)
        assert pid(await fleet.invoke(request_for("a"))) != before


async def test_resizing_under_load_fails_no_invocation(tmp_path: Path) -> None:
    upload(tmp_path, "a", invoke_seconds=0.3)
    async with running(tmp_path, instances=1) as (fleet, _given):
        await fleet.resize(3)
        assert [instance.in_service for instance in fleet.instances] == [True] * 3
        invocations = [asyncio.create_task(fleet.invoke(request_for("a"))) for _ in range(30)]
        await asyncio.sleep(0)
        assert sum(instance.outstanding for instance in fleet.instances) == 30
        await fleet.resize(1)
        assert [response.status for response in await asyncio.gather(*invocations)] == [200] * 30
        assert len(await fleet.snapshot()) == 1


async def test_a_cancelled_resize_leaves_nothing_behind(tmp_path: Path) -> None:
    """The end of the emulator cancels it while instances finish their invocations."""
    upload(tmp_path, "a", invoke_seconds=DEADLINE_S)
    async with running(tmp_path) as (fleet, _given):
        invocation = asyncio.create_task(fleet.invoke(request_for("a")))
        await until(lambda: any(instance.outstanding for instance in fleet.instances))
        fleet.instances.sort(key=lambda instance: instance.outstanding)
        leaving = fleet.instances[1]
        resize = asyncio.create_task(fleet.resize(1))
        await until(lambda: len(fleet.instances) == 1)
        resize.cancel()
        await asyncio.gather(resize, return_exceptions=True)
        assert leaving.status == "InService"
        await fleet.stop(drain_s=0)
        assert leaving.status == "Stopped"
        assert list((tmp_path / "instances").iterdir()) == []
        await asyncio.gather(invocation, return_exceptions=True)


async def test_a_fleet_that_cannot_start_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ContainerError):
        async with running(tmp_path, small_exit=3):
            pass
    assert list((tmp_path / "instances").iterdir()) == []
