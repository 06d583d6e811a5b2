"""One instance with a small container: models come, wait, make room for one another, and come back."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from polyhost.emulator.errors import (
    ContainerError,
    ContainerGone,
    DownloadError,
    LoadRefused,
    ModelDataMissing,
    ModelNotReady,
)
from polyhost.emulator.hosting.faults import Fault
from polyhost.emulator.hosting.instance import Instance, Platform
from polyhost.emulator.hosting.interfaces import Container
from polyhost.emulator.hosting.model_cache import ModelCache
from polyhost.emulator.telemetry.recorder import Place
from tests.emulator.archives import archive, packed
from tests.emulator.hosting_stand_ins import DEADLINE_S, call, kinds, platform, spec, statuses, until, upload


@asynccontextmanager
async def running(folder: Path, **settings: Any) -> AsyncIterator[tuple[Instance, ModelCache, Platform]]:
    async with platform(folder) as given:
        instance = Instance(given, Place("us-east-1", "e", "AllTraffic", "i-1"), spec(folder, **settings))
        await instance.start()
        try:
            assert instance.cache is not None
            yield instance, instance.cache, given
        finally:
            await instance.stop()
            assert instance.outstanding == 0
            assert list((folder / "instances").iterdir()) == []


def test_calls_that_wait_for_one_model_share_one_load(tmp_path: Path) -> None:
    async def scenario() -> None:
        upload(tmp_path, "a", load_seconds=0.2)
        async with running(tmp_path) as (instance, _cache, given):
            answers = await asyncio.gather(*(instance.invoke(call("a")) for _ in range(20)))
            assert statuses(answers) == [200] * 20
            assert not any(answer.cache_hit for answer in answers)
            assert (await instance.invoke(call("a"))).cache_hit
            assert kinds(given, "loaded") == ["a"]
            (about,) = (await instance.snapshot())["models"]
            assert (about["name"], about["state"], about["calls"], about["cold"]) == ("a", "loaded", 21, 1)

    asyncio.run(scenario())


def test_the_model_used_longest_ago_makes_room(tmp_path: Path) -> None:
    async def scenario() -> None:
        upload(tmp_path, "a", "b", "c")
        async with running(tmp_path, small_capacity=2) as (instance, cache, given):
            for name in ("a", "b", "a", "c"):
                assert json.loads((await instance.invoke(call(name))).body)["name"] == name
            assert kinds(given, "unloaded") == ["b"]
            assert list(cache.copies) == ["a", "c"]
            assert (await instance.invoke(call("b"))).status == 200
            assert kinds(given, "downloaded") == ["a", "b", "c"]  # it was on the disk still

    asyncio.run(scenario())


def test_an_unload_that_the_container_refuses_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        upload(tmp_path, "stays", unload_status=500)
        upload(tmp_path, "b")
        async with running(tmp_path, small_capacity=1) as (instance, _cache, given):
            await instance.invoke(call("stays"))
            with pytest.raises(LoadRefused, match="507"):
                await instance.invoke(call("b"))
            messages = [event.message for event in given.recorder.events if event.kind == "failed"]
            assert any("answered the unload with 500" in text and "it stays" in text for text in messages)
            assert kinds(given, "unloaded") == []
            assert (await instance.invoke(call("stays"))).status == 200

    asyncio.run(scenario())


def test_names_without_data_are_not_remembered(tmp_path: Path) -> None:
    async def scenario() -> None:
        upload(tmp_path, "a")
        async with running(tmp_path) as (instance, cache, _given):
            for name in ("a", "none-1", "none-2", "../none"):
                with contextlib.suppress(ModelDataMissing):
                    await instance.invoke(call(name))
            assert list(cache.usage) == ["a"]

    asyncio.run(scenario())


def test_many_models_take_turns_in_little_room(tmp_path: Path) -> None:
    async def scenario() -> None:
        names = [f"m{number}" for number in range(8)]
        upload(tmp_path, *names, load_seconds=0.02)
        async with running(tmp_path, small_capacity=2) as (instance, _cache, _given):
            answers = await asyncio.gather(*(instance.invoke(call(name)) for name in names * 4))
            assert [json.loads(answer.body)["name"] for answer in answers] == names * 4

    asyncio.run(scenario())


def test_a_model_in_use_is_waited_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        upload(tmp_path, "slow", invoke_seconds=0.6)
        upload(tmp_path, "b")
        async with running(tmp_path, small_capacity=1) as (instance, cache, _given):
            slow = asyncio.create_task(instance.invoke(call("slow")))
            await until(lambda: (copy := cache.loaded("slow")) and copy.in_flight)
            assert (await instance.invoke(call("b"))).status == 200
            assert slow.done() and slow.result().status == 200

    asyncio.run(scenario())


def test_a_model_is_not_idle_while_calls_wait_for_it(tmp_path: Path) -> None:
    """Else another load could have it unloaded between its loading and their turn."""

    async def scenario() -> None:
        upload(tmp_path, "a")
        async with running(tmp_path) as (instance, cache, given):
            idle: list[bool] = []
            given.recorder.listen(on_event=lambda event: idle.extend(copy.idle for copy in cache.copies.values()))
            await instance.invoke(call("a"))
            assert idle == [False, False]  # downloaded, loaded
            assert cache.copies["a"].idle

    asyncio.run(scenario())


def test_a_507_where_nothing_can_go_is_the_answer(tmp_path: Path) -> None:
    async def scenario() -> None:
        upload(tmp_path, "a")
        async with running(tmp_path, small_capacity=0) as (instance, cache, _given):
            with pytest.raises(LoadRefused) as refused:
                await instance.invoke(call("a"))
            assert refused.value.status == 507
            assert not cache.copies

    asyncio.run(scenario())


def test_a_container_with_room_for_nothing_says_so_soon(tmp_path: Path) -> None:
    """Though loads go on coming, none waits for one that came after its own."""

    async def scenario() -> None:
        for name in ("a", "b", "c"):
            upload(tmp_path, name, load_seconds=0.1)
        upload(tmp_path, "asked", load_seconds=0.02)
        async with running(tmp_path, small_capacity=0) as (instance, _cache, _given):

            async def go_on_asking(name: str) -> None:
                while True:
                    with pytest.raises(LoadRefused, match="507"):
                        await instance.invoke(call(name, timeout_s=60))

            others = [asyncio.create_task(go_on_asking(name)) for name in ("a", "b", "c")]
            try:
                async with asyncio.timeout(DEADLINE_S):
                    for _ in range(5):
                        with pytest.raises(LoadRefused, match="507"):
                            await instance.invoke(call("asked", timeout_s=60))
            finally:
                for other in others:
                    other.cancel()
                await asyncio.gather(*others, return_exceptions=True)

    asyncio.run(scenario())


def test_a_refused_model_is_downloaded_anew(tmp_path: Path) -> None:
    async def scenario() -> None:
        upload(tmp_path, "a", load_status=500)
        async with running(tmp_path) as (instance, _cache, _given):
            with pytest.raises(LoadRefused):
                await instance.invoke(call("a"))
            with pytest.raises(ModelDataMissing):
                await instance.invoke(call("none"))
            upload(tmp_path, "a")
            assert (await instance.invoke(call("a"))).status == 200

    asyncio.run(scenario())


def test_a_load_goes_on_without_those_who_waited(tmp_path: Path) -> None:
    async def scenario() -> None:
        upload(tmp_path, "a", load_seconds=0.5)
        async with running(tmp_path) as (instance, cache, _given):
            gone = asyncio.create_task(instance.invoke(call("a")))
            await until(lambda: cache.copies)
            gone.cancel()
            with pytest.raises(ModelNotReady):
                await instance.invoke(call("a", timeout_s=0.1))
            assert instance.outstanding == 0
            await until(lambda: cache.loaded("a"))
            assert (await instance.invoke(call("a"))).cache_hit

    asyncio.run(scenario())


def test_a_call_that_is_given_up_leaves_no_count(tmp_path: Path) -> None:
    async def scenario() -> None:
        upload(tmp_path, "a", invoke_seconds=0.5)
        async with running(tmp_path) as (instance, cache, _given):
            gone = asyncio.create_task(instance.invoke(call("a")))
            await until(lambda: (copy := cache.loaded("a")) and copy.in_flight)
            gone.cancel()
            with pytest.raises(asyncio.CancelledError):
                await gone
            assert instance.outstanding == cache.copies["a"].in_flight == 0

    asyncio.run(scenario())


def test_a_model_that_the_container_lost_is_loaded_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        upload(tmp_path, "a")
        upload(tmp_path, "says-404", status=404)
        async with running(tmp_path) as (instance, cache, given):
            await instance.invoke(call("a"))
            assert instance._client is not None
            await instance._client.unload(cache.copies["a"].key)  # behind the platform's back
            assert (await instance.invoke(call("a"))).status == 200
            assert kinds(given, "loaded") == ["a", "a"]
            assert (await instance.invoke(call("says-404"))).status == 404
            assert kinds(given, "loaded") == ["a", "a", "says-404"]

    asyncio.run(scenario())


def test_a_model_loaded_already_is_taken_as_loaded(tmp_path: Path) -> None:
    async def scenario() -> None:
        upload(tmp_path, "a")
        async with running(tmp_path) as (instance, cache, _given):
            await instance.invoke(call("a"))
            cache.forget(cache.copies["a"])
            assert (await instance.invoke(call("a"))).status == 200

    asyncio.run(scenario())


def test_without_caching_a_model_goes_after_its_calls(tmp_path: Path) -> None:
    async def scenario() -> None:
        upload(tmp_path, "a")
        async with running(tmp_path, keeps_models=False) as (instance, cache, given):
            answers = await asyncio.gather(*(instance.invoke(call("a")) for _ in range(10)))
            assert statuses(answers) == [200] * 10
            await until(lambda: not cache.copies)
            assert (await instance.invoke(call("a"))).status == 200
            assert kinds(given, "downloaded") == ["a", "a"]

    asyncio.run(scenario())


def test_a_full_disk_loses_what_was_used_longest_ago(tmp_path: Path) -> None:
    async def scenario() -> None:
        for name in ("a", "b", "c"):
            upload(tmp_path, name, filling="x" * 1000)
        async with running(tmp_path, volume_bytes=2500) as (instance, cache, _given):
            for name in ("a", "b", "c"):
                assert (await instance.invoke(call(name))).status == 200
            assert list(cache.disk) == list(cache.copies) == ["b", "c"]

    asyncio.run(scenario())


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk takes the right to mount one")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_machine_without_room_keeps_what_was_used_last(tmp_path: Path) -> None:
    """The disk itself is full, though the instance's volume is not."""

    def heavy(name: str, megabytes: int) -> None:
        files = {"model.json": json.dumps({"name": name}).encode(), "weights": os.urandom(megabytes << 20)}
        (tmp_path / "archives" / name).write_bytes(packed(files))

    async def scenario() -> None:
        (tmp_path / "archives").mkdir()
        for name in ("a", "b", "c", "d"):
            heavy(name, 2)
        heavy("huge", 9)
        async with running(tmp_path) as (instance, cache, _given):
            for name in ("a", "b", "c", "d", "a"):
                assert (await instance.invoke(call(name))).status == 200
            assert list(cache.disk) == ["c", "d", "a"]
            with pytest.raises(DownloadError, match=r"could not be written to the instance's disk.*No space left"):
                await instance.invoke(call("huge"))
            assert (await instance.invoke(call("b"))).status == 200

    with small_disk(tmp_path / "instances", megabytes=8):
        asyncio.run(scenario())


def test_an_overwritten_archive_stays_as_it_was(tmp_path: Path) -> None:
    async def scenario() -> None:
        upload(tmp_path, "a", "b")
        async with running(tmp_path, small_capacity=1) as (instance, _cache, given):
            await instance.invoke(call("a"))
            await instance.invoke(call("b"))
            (tmp_path / "archives" / "a").write_bytes(archive("another one"))
            assert json.loads((await instance.invoke(call("a"))).body)["name"] == "a"
            await until(lambda: kinds(given, "overwritten") == ["a"])

    asyncio.run(scenario())


def test_a_container_that_ends_is_started_anew(tmp_path: Path) -> None:
    async def scenario() -> None:
        upload(tmp_path, "a")
        upload(tmp_path, "deadly", exit=7)
        async with running(tmp_path) as (instance, _cache, given):
            before = json.loads((await instance.invoke(call("a"))).body)["pid"]
            with pytest.raises(ContainerGone) as gone:
                await instance.invoke(call("deadly"))
            assert not gone.value.may_retry
            await until(lambda: instance.restarts == 1)
            assert json.loads((await instance.invoke(call("a"))).body)["pid"] != before
            (message,) = kinds(given, "restarted")
            assert "ended with status 7" in message and "invoked a" in message

    asyncio.run(scenario())


def test_a_container_that_hangs_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyhost.emulator.hosting.instance.PING_EVERY_S", 0.1)
    monkeypatch.setattr("polyhost.emulator.hosting.container_client.PING_TIMEOUT_S", 0.3)

    async def scenario() -> None:
        upload(tmp_path, "a")
        async with running(tmp_path) as (instance, _cache, given):
            await instance.invoke(call("a"))
            os.kill((await instance.snapshot())["pid"], signal.SIGSTOP)
            await until(lambda: instance.restarts == 1)
            assert "missed 3 pings" in kinds(given, "restarted")[0]
            assert (await instance.invoke(call("a"))).status == 200

    asyncio.run(scenario())


class Slow:
    """A container whose end can be cut short."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self.stopping = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    async def stop(self, grace_s: float) -> None:
        if not self.stopping.is_set():
            self.stopping.set()
            await asyncio.Event().wait()
        await self._container.stop(grace_s)


def test_a_restart_that_is_cut_short_leaves_no_container(tmp_path: Path) -> None:
    async def scenario() -> None:
        upload(tmp_path)
        async with running(tmp_path) as (instance, _cache, _given):
            assert instance._container is not None
            container = instance._container
            (noted,) = (tmp_path / "instances" / "i-1").glob("ph-*")
            instance._container = slow = Slow(container)  # type: ignore[assignment]
            await container.kill()
            await slow.stopping.wait()
            await instance.stop()
            assert not Path(tempfile.gettempdir(), noted.name).exists()

    asyncio.run(scenario())


def test_what_the_keeper_did_not_expect_is_told_and_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        upload(tmp_path, "a")
        async with running(tmp_path) as (instance, _cache, given):
            launch, attempts = instance._launch, []

            async def fail_once() -> None:
                attempts.append(1)
                if len(attempts) == 1:
                    raise KeyError("odd")
                await launch()

            monkeypatch.setattr(instance, "_launch", fail_once)
            assert instance._container is not None
            await instance._container.kill()
            await until(lambda: instance.restarts == 1)
            assert any("KeyError('odd'); again in" in message for message in kinds(given, "failed"))
            assert (await instance.invoke(call("a"))).status == 200

    asyncio.run(scenario())


def test_a_container_that_does_not_start_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        upload(tmp_path)
        with pytest.raises(ContainerError, match=r"(?s)ended with status 3: .*it cannot go on"):
            async with running(tmp_path, small_exit=3):
                pass
        assert list((tmp_path / "instances").iterdir()) == []

    asyncio.run(scenario())


def test_faults_on_demand(tmp_path: Path) -> None:
    async def scenario() -> None:
        upload(tmp_path, "a")
        async with running(tmp_path) as (instance, _cache, given):
            given.faults.add(Fault("refuse-load"))
            with pytest.raises(LoadRefused):
                await instance.invoke(call("a"))
            given.faults.add(Fault("kill-container"))
            with pytest.raises(ContainerGone):
                await instance.invoke(call("a"))
            await until(lambda: instance.restarts == 1)
            assert (await instance.invoke(call("a"))).status == 200
            assert not given.faults.pending

    asyncio.run(scenario())
