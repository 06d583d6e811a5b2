"""Several instances: where calls go, what a killed container costs, growing and shrinking."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from polyhost.emulator.errors import ContainerError, ContainerGone
from polyhost.emulator.hosting.fleet import SPREAD_AT, Fleet, Platform
from polyhost.emulator.hosting.interfaces import Answer
from tests.emulator.hosting_stand_ins import call, kinds, platform, spec, until, upload


@asynccontextmanager
async def running(folder: Path, instances: int = 2, **settings: Any) -> AsyncIterator[tuple[Fleet, Platform]]:
    async with platform(folder) as given:
        fleet = Fleet(given, "us-east-1", "e", spec(folder, instances, **settings))
        await fleet.start()
        try:
            yield fleet, given
        finally:
            await fleet.stop()
            assert list((folder / "instances").iterdir()) == []


def pid(answer: Answer) -> int:
    assert answer.status == 200
    return int(json.loads(answer.body)["pid"])


def test_calls_stay_with_the_instance_that_has_their_model(tmp_path: Path) -> None:
    async def scenario() -> None:
        upload(tmp_path, "a", "b")
        async with running(tmp_path) as (fleet, given):
            pids = {name: {pid(await fleet.invoke(call(name))) for _ in range(10)} for name in ("a", "b")}
            assert len(pids["a"]) == len(pids["b"]) == 1
            assert pids["a"] != pids["b"]  # the emptier instance took the second model
            assert sorted(kinds(given, "loaded")) == ["a", "b"]

    asyncio.run(scenario())


def test_a_model_under_pressure_gets_a_second_instance(tmp_path: Path) -> None:
    async def scenario() -> None:
        upload(tmp_path, "a", invoke_seconds=0.3)
        async with running(tmp_path) as (fleet, given):
            await fleet.invoke(call("a"))
            answers = await asyncio.gather(*(fleet.invoke(call("a")) for _ in range(SPREAD_AT * 3)))
            assert len({pid(answer) for answer in answers}) == 2
            assert kinds(given, "loaded") == ["a", "a"]

    asyncio.run(scenario())


def test_a_killed_container_costs_only_the_calls_in_flight(tmp_path: Path) -> None:
    async def scenario() -> None:
        names = [f"m{number}" for number in range(6)]
        upload(tmp_path, *names, invoke_seconds=0.01)
        async with running(tmp_path) as (fleet, _given):
            stop, failed, answered = asyncio.Event(), 0, 0

            async def client(name: str) -> None:
                nonlocal failed, answered
                while not stop.is_set():
                    try:
                        pid(await fleet.invoke(call(name)))
                        answered += 1
                    except ContainerGone:
                        failed += 1

            clients = [asyncio.create_task(client(name)) for name in names]
            await until(lambda: answered > 100)
            victim = fleet.instances[0]
            in_flight = victim.outstanding
            assert victim._container is not None
            await victim._container.kill()
            await until(lambda: victim.restarts == 1)
            seen = answered
            await until(lambda: answered > seen + 100)
            stop.set()
            await asyncio.gather(*clients)
            assert failed <= in_flight

    asyncio.run(scenario())


def test_a_container_killed_during_a_load_costs_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        upload(tmp_path, "a", load_seconds=0.4)
        async with running(tmp_path) as (fleet, given):
            asked = asyncio.create_task(fleet.invoke(call("a")))
            await until(lambda: kinds(given, "downloaded"))
            victim = next(instance for instance in fleet.instances if instance.outstanding)
            assert victim._container is not None
            await victim._container.kill()
            assert (await asked).status == 200

    asyncio.run(scenario())


def test_the_only_instance_is_waited_for_while_it_restarts(tmp_path: Path) -> None:
    async def scenario() -> None:
        upload(tmp_path, "a")
        async with running(tmp_path, instances=1) as (fleet, _given):
            before = pid(await fleet.invoke(call("a")))
            assert fleet.instances[0]._container is not None
            await fleet.instances[0]._container.kill()
            await until(lambda: not fleet.instances[0].in_service)
            assert pid(await fleet.invoke(call("a"))) != before

    asyncio.run(scenario())


def test_growing_and_shrinking_under_load(tmp_path: Path) -> None:
    async def scenario() -> None:
        upload(tmp_path, "a", invoke_seconds=0.3)
        async with running(tmp_path, instances=1) as (fleet, _given):
            await fleet.resize(3)
            assert [instance.in_service for instance in fleet.instances] == [True] * 3
            calls = [asyncio.create_task(fleet.invoke(call("a"))) for _ in range(30)]
            await until(lambda: sum(instance.outstanding for instance in fleet.instances) == 30)
            await fleet.resize(1)
            assert [answer.status for answer in await asyncio.gather(*calls)] == [200] * 30
            assert len(await fleet.snapshot()) == 1

    asyncio.run(scenario())


def test_a_resize_that_is_cut_short_leaves_nothing(tmp_path: Path) -> None:
    """As the emulator's end cuts it short while instances finish their calls."""

    async def scenario() -> None:
        upload(tmp_path, "a", invoke_seconds=1)
        async with running(tmp_path) as (fleet, _given):
            asked = asyncio.create_task(fleet.invoke(call("a")))
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
            await asyncio.gather(asked, return_exceptions=True)

    asyncio.run(scenario())


def test_a_fleet_that_cannot_start_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(ContainerError):
            async with running(tmp_path, small_exit=3):
                pass
        assert list((tmp_path / "instances").iterdir()) == []

    asyncio.run(scenario())
