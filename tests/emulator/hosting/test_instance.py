"""One instance with a small container: models are loaded, wait, are evicted for one another, and come back."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from polyhost.emulator.errors import ContainerError, ModelNotReady
from polyhost.emulator.hosting.drivers.process import ProcessDriver
from polyhost.emulator.hosting.faults import Fault, FaultKind
from polyhost.emulator.hosting.instance import Instance
from polyhost.emulator.hosting.interfaces import Container, Driver, Launch, Platform
from polyhost.emulator.telemetry.recorder import Place
from polyhost.model_cache.cache import ModelCache
from polyhost.model_cache.errors import ContainerGoneError, DownloadError, LoadRejectedError, ModelDataMissingError
from polyhost.private_folder import private_parent
from tests.emulator.archives import archive, packed
from tests.emulator.conftest import COMMAND
from tests.emulator.hosting.harness import (
    DEADLINE_S,
    DriverWrapper,
    recorded,
    request_for,
    running_platform,
    statuses,
    upload,
    variant_spec,
)
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

INSTANCE = f"i-{os.getpid():x}"  # also the name of a control group, which tests in parallel must not share


@asynccontextmanager
async def running(
    folder: Path, driver: Driver | None = None, **settings: Any
) -> AsyncIterator[tuple[Instance, ModelCache, Platform]]:
    async with running_platform(folder, driver) as given:
        instance = Instance(given, Place("us-east-1", "e", "AllTraffic", INSTANCE), variant_spec(folder, **settings))
        await instance.start()
        try:
            cache = instance.containers[0].cache
            assert cache is not None
            yield instance, cache, given
        finally:
            await instance.stop()
            assert instance.outstanding == 0
            assert list((folder / "instances").iterdir()) == []


async def test_invocations_that_wait_for_one_model_share_one_load(tmp_path: Path) -> None:
    upload(tmp_path, "a", load_seconds=0.2)
    async with running(tmp_path) as (instance, _cache, given):
        responses = await asyncio.gather(*(instance.invoke(request_for("a")) for _ in range(20)))
        assert statuses(responses) == [200] * 20
        assert not any(response.cache_hit for response in responses)
        assert (await instance.invoke(request_for("a"))).cache_hit
        assert recorded(given, "loaded") == ["a"]
        (about,) = (await instance.snapshot())["models"]
        assert (about["name"], about["state"], about["calls"], about["cold"]) == ("a", "loaded", 21, 1)


async def test_the_least_recently_used_model_is_evicted(tmp_path: Path) -> None:
    upload(tmp_path, "a", "b", "c")
    async with running(tmp_path, small_capacity=2) as (instance, cache, given):
        for name in ("a", "b", "a", "c"):
            assert json.loads((await instance.invoke(request_for(name))).body)["name"] == name
        assert recorded(given, "unloaded") == ["b"]
        assert list(cache.models.copies) == ["a", "c"]
        assert (await instance.invoke(request_for("b"))).status == 200
        assert recorded(given, "downloaded") == ["a", "b", "c"]  # it was on the disk still


async def test_an_unload_that_the_container_rejects_is_recorded(tmp_path: Path) -> None:
    upload(tmp_path, "stays", unload_status=500)
    upload(tmp_path, "b")
    async with running(tmp_path, small_capacity=1) as (instance, _cache, given):
        await instance.invoke(request_for("stays"))
        with pytest.raises(LoadRejectedError, match="507"):
            await instance.invoke(request_for("b"))
        messages = [event.message for event in given.recorder.events if event.kind == "failed"]
        assert any("answered the unload with 500" in text and "it stays" in text for text in messages)
        assert recorded(given, "unloaded") == []
        assert (await instance.invoke(request_for("stays"))).status == 200


async def test_names_of_models_that_do_not_exist_are_not_kept(tmp_path: Path) -> None:
    upload(tmp_path, "a")
    async with running(tmp_path) as (instance, cache, _given):
        for name in ("a", "none-1", "none-2", "../none"):
            with contextlib.suppress(ModelDataMissingError):
                await instance.invoke(request_for(name))
        assert list(cache.models.usage) == ["a"]


async def test_many_models_share_little_memory(tmp_path: Path) -> None:
    names = [f"m{number}" for number in range(8)]
    upload(tmp_path, *names, load_seconds=0.02)
    async with running(tmp_path, small_capacity=2) as (instance, _cache, _given):
        responses = await asyncio.gather(*(instance.invoke(request_for(name)) for name in names * 4))
        assert [json.loads(response.body)["name"] for response in responses] == names * 4


async def test_a_load_waits_for_a_model_in_use_to_become_idle(tmp_path: Path) -> None:
    upload(tmp_path, "slow", invoke_seconds=0.6)
    upload(tmp_path, "b")
    async with running(tmp_path, small_capacity=1) as (instance, cache, _given):
        slow = asyncio.create_task(instance.invoke(request_for("slow")))
        await until(lambda: (copy := cache.loaded("slow")) and copy.in_flight)
        assert (await instance.invoke(request_for("b"))).status == 200
        assert slow.done() and slow.result().status == 200


async def test_a_model_is_not_idle_while_invocations_wait_for_it(tmp_path: Path) -> None:
    """Otherwise another load could evict it between its own load and their turn."""
    upload(tmp_path, "a")
    async with running(tmp_path) as (instance, cache, given):
        idle: list[bool] = []
        given.recorder.listen(on_event=lambda event: idle.extend(copy.idle for copy in cache.models.copies.values()))
        await instance.invoke(request_for("a"))
        assert idle == [False, False]  # downloaded, loaded
        assert cache.models.copies["a"].idle


async def test_a_507_is_returned_if_nothing_can_be_evicted(tmp_path: Path) -> None:
    upload(tmp_path, "a")
    async with running(tmp_path, small_capacity=0) as (instance, cache, _given):
        with pytest.raises(LoadRejectedError) as refused:
            await instance.invoke(request_for("a"))
        assert refused.value.status == 507
        assert not cache.models.copies


async def test_a_container_without_room_rejects_loads_while_more_arrive(tmp_path: Path) -> None:
    """A load does not wait for loads that begin after it was rejected."""
    for name in ("a", "b", "c"):
        upload(tmp_path, name, load_seconds=0.1)
    upload(tmp_path, "asked", load_seconds=0.02)
    async with running(tmp_path, small_capacity=0) as (instance, _cache, _given):

        async def keep_invoking(name: str) -> None:
            while True:
                with pytest.raises(LoadRejectedError, match="507"):
                    await instance.invoke(request_for(name, timeout_s=60))

        others = [asyncio.create_task(keep_invoking(name)) for name in ("a", "b", "c")]
        try:
            async with asyncio.timeout(DEADLINE_S):
                for _ in range(5):
                    with pytest.raises(LoadRejectedError, match="507"):
                        await instance.invoke(request_for("asked", timeout_s=60))
        finally:
            for other in others:
                other.cancel()
            await asyncio.gather(*others, return_exceptions=True)


async def test_a_model_that_did_not_load_is_downloaded_again(tmp_path: Path) -> None:
    upload(tmp_path, "a", load_status=500)
    async with running(tmp_path) as (instance, _cache, _given):
        with pytest.raises(LoadRejectedError):
            await instance.invoke(request_for("a"))
        with pytest.raises(ModelDataMissingError):
            await instance.invoke(request_for("none"))
        upload(tmp_path, "a")
        assert (await instance.invoke(request_for("a"))).status == 200


async def test_a_load_goes_on_after_its_invocations_were_cancelled(tmp_path: Path) -> None:
    upload(tmp_path, "a", load_seconds=0.5)
    async with running(tmp_path) as (instance, cache, _given):
        cancelled = asyncio.create_task(instance.invoke(request_for("a")))
        await asyncio.sleep(0)
        assert not cache.models.loaded("a") and cache.models.copies
        cancelled.cancel()
        with pytest.raises(ModelNotReady):
            await instance.invoke(request_for("a", timeout_s=0))
        assert instance.outstanding == 0
        await until(lambda: cache.loaded("a"))
        assert (await instance.invoke(request_for("a"))).cache_hit


async def test_a_cancelled_invocation_is_not_counted_as_in_flight(tmp_path: Path) -> None:
    upload(tmp_path, "a", invoke_seconds=DEADLINE_S)
    async with running(tmp_path) as (instance, cache, _given):
        cancelled = asyncio.create_task(instance.invoke(request_for("a")))
        await until(lambda: (copy := cache.loaded("a")) and copy.in_flight)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert instance.outstanding == cache.models.copies["a"].in_flight == 0


async def test_a_model_that_the_container_lost_is_loaded_again(tmp_path: Path) -> None:
    upload(tmp_path, "a")
    upload(tmp_path, "says-404", status=404)
    async with running(tmp_path) as (instance, cache, given):
        await instance.invoke(request_for("a"))
        await instance.containers[0].keeper.client.unload(cache.models.copies["a"].key)  # behind the platform's back
        assert (await instance.invoke(request_for("a"))).status == 200
        assert recorded(given, "loaded") == ["a", "a"]
        assert (await instance.invoke(request_for("says-404"))).status == 404
        assert recorded(given, "loaded") == ["a", "a", "says-404"]


async def test_a_load_answered_with_409_counts_as_loaded(tmp_path: Path) -> None:
    upload(tmp_path, "a")
    async with running(tmp_path) as (instance, cache, _given):
        await instance.invoke(request_for("a"))
        cache.discard(cache.models.copies["a"])
        assert (await instance.invoke(request_for("a"))).status == 200


async def test_without_caching_a_model_is_removed_after_its_invocations(tmp_path: Path) -> None:
    upload(tmp_path, "a")
    async with running(tmp_path, keeps_models=False) as (instance, cache, given):
        responses = await asyncio.gather(*(instance.invoke(request_for("a")) for _ in range(10)))
        assert statuses(responses) == [200] * 10
        await until(lambda: not cache.models.copies)
        assert (await instance.invoke(request_for("a"))).status == 200
        assert recorded(given, "downloaded") == ["a", "a"]


async def test_a_full_volume_loses_the_least_recently_used_archive(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        upload(tmp_path, name, filling="x" * 1000)
    async with running(tmp_path, volume_bytes=2500) as (instance, cache, _given):
        for name in ("a", "b", "c"):
            assert (await instance.invoke(request_for(name))).status == 200
        assert list(cache.disk.archives) == list(cache.models.copies) == ["b", "c"]


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


async def test_a_full_file_system_loses_the_least_recently_used_archives(tmp_path: Path) -> None:
    """The file system is full, although the instance's volume is not."""

    def upload_large(name: str, megabytes: int) -> None:
        files = {"model.json": json.dumps({"name": name}).encode(), "weights": os.urandom(megabytes << 20)}
        (tmp_path / "archives" / name).write_bytes(packed(files))

    (tmp_path / "archives").mkdir()
    for name in ("a", "b", "c", "d"):
        upload_large(name, 2)
    upload_large("huge", 9)
    with small_disk(tmp_path / "instances", megabytes=8):
        async with running(tmp_path) as (instance, cache, _given):
            for name in ("a", "b", "c", "d", "a"):
                assert (await instance.invoke(request_for(name))).status == 200
            assert list(cache.disk.archives) == ["c", "d", "a"]
            with pytest.raises(DownloadError, match=r"could not be unpacked.*No space left"):
                await instance.invoke(request_for("huge"))
            assert (await instance.invoke(request_for("b"))).status == 200


async def test_an_overwritten_archive_is_reported_and_not_downloaded_again(tmp_path: Path) -> None:
    upload(tmp_path, "a", "b")
    async with running(tmp_path, small_capacity=1) as (instance, _cache, given):
        await instance.invoke(request_for("a"))
        await instance.invoke(request_for("b"))
        (tmp_path / "archives" / "a").write_bytes(archive("another one"))
        assert json.loads((await instance.invoke(request_for("a"))).body)["name"] == "a"
        await until(lambda: recorded(given, "overwritten") == ["a"])


async def test_a_container_that_ended_is_replaced(tmp_path: Path) -> None:
    upload(tmp_path, "a")
    upload(tmp_path, "deadly", exit=7)
    async with running(tmp_path) as (instance, _cache, given):
        before = json.loads((await instance.invoke(request_for("a"))).body)["pid"]
        with pytest.raises(ContainerGoneError) as gone:
            await instance.invoke(request_for("deadly"))
        assert not gone.value.may_retry
        await until(lambda: instance.containers[0].keeper.restarts == 1)
        assert json.loads((await instance.invoke(request_for("a"))).body)["pid"] != before
        (message,) = recorded(given, "restarted")
        assert "ended with status 7" in message and "invoked a" in message


async def test_a_container_that_hangs_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(tmp_path, "a")
    monkeypatch.setattr("polyhost.emulator.hosting.container_keeper.PING_EVERY_S", 0.1)
    async with running(tmp_path) as (instance, _cache, given):
        await instance.invoke(request_for("a"))
        os.kill((await instance.snapshot())["pid"], signal.SIGSTOP)
        monkeypatch.setattr("polyhost.emulator.hosting.container_client.PING_TIMEOUT_S", 0.3)
        await until(lambda: recorded(given, "restarted"))
        monkeypatch.undo()  # the next container has all the time it needs
        assert "missed 3 pings" in recorded(given, "restarted")[0]
        await until(lambda: instance.containers[0].keeper.restarts == 1)
        assert (await instance.invoke(request_for("a"))).status == 200


class ContainerThatEndsSlowly:
    """A container of which the first stop never ends unless it is cancelled."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self.stopping = asyncio.Event()
        self.url, self.models_folder, self.pid = container.url, container.models_folder, container.pid
        self.wait, self.kill, self.usage = container.wait, container.kill, container.usage

    async def stop(self, grace_s: float) -> None:
        if not self.stopping.is_set():
            self.stopping.set()
            await asyncio.Event().wait()
        await self._container.stop(grace_s)


async def test_a_stop_during_a_restart_leaves_no_container(tmp_path: Path) -> None:
    started: list[ContainerThatEndsSlowly] = []

    class DriverOfSlowContainers(DriverWrapper):
        async def start(self, launch: Launch) -> Container:
            started.append(ContainerThatEndsSlowly(await super().start(launch)))
            return started[-1]

    upload(tmp_path)
    driver = DriverOfSlowContainers(ProcessDriver(COMMAND))
    async with running(tmp_path, driver) as (instance, _cache, _given):
        (noted,) = (tmp_path / "instances" / INSTANCE).glob("ph-*")
        (container,) = started
        await container.kill()
        await container.stopping.wait()
        await instance.stop()
        assert not (private_parent() / noted.name).exists()


async def test_an_unexpected_error_of_the_driver_is_recorded_and_retried(tmp_path: Path) -> None:
    class DriverThatFailsOnce(DriverWrapper):
        starts = 0

        async def start(self, launch: Launch) -> Container:
            self.starts += 1
            if self.starts == 2:
                raise KeyError("odd")
            return await super().start(launch)

    upload(tmp_path, "a")
    async with running(tmp_path, DriverThatFailsOnce(ProcessDriver(COMMAND))) as (instance, _cache, given):
        await instance.containers[0].keeper.kill()
        await until(lambda: instance.containers[0].keeper.restarts == 1)
        assert any("KeyError('odd'); again in" in message for message in recorded(given, "failed"))
        assert (await instance.invoke(request_for("a"))).status == 200


async def test_a_container_that_does_not_start_leaves_nothing_behind(tmp_path: Path) -> None:
    upload(tmp_path)
    with pytest.raises(ContainerError, match=r"(?s)ended with status 3: .*it cannot go on"):
        async with running(tmp_path, small_exit=3):
            pass
    assert list((tmp_path / "instances").iterdir()) == []


async def test_faults_on_demand(tmp_path: Path) -> None:
    upload(tmp_path, "a")
    async with running(tmp_path) as (instance, _cache, given):
        given.faults.add(Fault(FaultKind.REFUSE_LOAD))
        with pytest.raises(LoadRejectedError):
            await instance.invoke(request_for("a"))
        given.faults.add(Fault(FaultKind.KILL_CONTAINER))
        with pytest.raises(ContainerGoneError):
            await instance.invoke(request_for("a"))
        await until(lambda: instance.containers[0].keeper.restarts == 1)
        assert (await instance.invoke(request_for("a"))).status == 200
        assert not given.faults.pending
