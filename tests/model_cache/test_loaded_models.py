"""The memory half of the model cache: loads, evictions, and loads that wait for room."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from polyhost.model_cache import loaded_models
from polyhost.model_cache.disk_cache import key_of
from polyhost.model_cache.errors import ContainerGoneError, LoadRejectedError, LostWhileLoadingError
from polyhost.model_cache.loaded_models import LoadedModels
from polyhost.model_cache.model_copy import CopyState, ModelCopy
from tests.model_cache.stand_ins import Observed, StandInServer
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


class Memory:
    """What the container uses, set by the test."""

    used, limit = 0, 1000

    async def __call__(self) -> tuple[int, int]:
        return self.used, self.limit


class Fixture:
    """Models in a container with room for so many, with files that are always there."""

    def __init__(self, capacity: int) -> None:
        self.server = StandInServer(capacity)
        self.observed = Observed()
        self.memory = Memory()
        self.removed: list[str] = []
        self.pinned: set[str] = set()
        self.models = LoadedModels(
            self.observed, self.memory, self._provide, self._remove, lambda name: name in self.pinned
        )
        self.models.attach(self.server, "/models")

    async def _provide(self, name: str) -> str:
        await asyncio.sleep(0)
        return f"{key_of(name)}/model"

    async def _remove(self, name: str) -> None:
        self.removed.append(name)

    def loading(self, *names: str) -> "list[asyncio.Task[ModelCopy]]":
        return [asyncio.create_task(self.models.load(name)) for name in names]

    async def until_waiting(self, *names: str) -> None:
        """Return when loads of these models wait for room."""
        copies = self.models.copies
        await until(lambda: all(name in copies and copies[name].waits_for_room for name in names))


@asynccontextmanager
async def with_room_for(capacity: int) -> AsyncIterator[Fixture]:
    fixture = Fixture(capacity)
    yield fixture
    await fixture.models.close()


async def test_the_least_recently_used_idle_model_is_evicted() -> None:
    async with with_room_for(3) as fixture:
        models = fixture.models
        a, b, c = [await models.load(name) for name in "abc"]
        models.acquire(a)
        for copy in (b, c, b):
            models.acquire(copy)
            models.release(copy)
        await models.load("d")
        assert fixture.observed.of("unloaded") == ["c"]
        assert list(models.copies) == ["a", "b", "d"]


async def test_idle_models_are_evicted_when_memory_is_nearly_full() -> None:
    async with with_room_for(1000) as fixture:
        for name in "abc":
            await fixture.models.load(name)
        fixture.memory.used = 951
        await fixture.models.load("d")  # nothing is seen to become free, so all idle models go
        assert fixture.observed.of("unloaded") == ["a", "b", "c"]
        assert fixture.observed.of("rejected") == []


async def test_the_memory_of_a_load_is_measured_if_nothing_else_changed() -> None:
    async with with_room_for(1000) as fixture:
        hold = fixture.server.hold("a")
        (load,) = fixture.loading("a")
        await until(lambda: fixture.server.load_calls)
        fixture.memory.used = 70
        hold.set()
        copy = await load
        await until(lambda: copy.memory_bytes == 70)
        hold = fixture.server.hold("b")
        b, c = fixture.loading("b", "c")
        fixture.memory.used = 90
        await c
        hold.set()
        assert (await b).memory_bytes is None


async def test_a_load_without_room_is_rejected_if_nothing_can_be_evicted() -> None:
    async with with_room_for(0) as fixture:
        results = await asyncio.gather(*fixture.loading("a", "b", "c"), return_exceptions=True)
        assert [type(result) for result in results] == [LoadRejectedError] * 3
        assert not fixture.models.copies


async def test_loads_wait_for_a_model_in_use_and_are_all_served() -> None:
    async with with_room_for(1) as fixture:
        used = await fixture.models.load("used")
        fixture.models.acquire(used)
        loads = []
        for name in ("first", "second", "third"):
            loads += fixture.loading(name)
            await fixture.until_waiting(name)
        fixture.models.release(used)
        await asyncio.gather(*loads)
        loaded = fixture.observed.of("loaded")
        # Once a model has left, all retry: the container decides whose request comes first.
        assert loaded[0] == "used" and sorted(loaded[1:]) == ["first", "second", "third"]


async def test_a_load_does_not_wait_for_loads_that_wait_for_room() -> None:
    async with with_room_for(1) as fixture:
        used = await fixture.models.load("used")
        fixture.models.acquire(used)
        loads = fixture.loading("a", "b")
        await fixture.until_waiting("a", "b")
        fixture.server.capacity = 0
        fixture.models.release(used)
        results = await asyncio.gather(*loads, return_exceptions=True)
        assert [type(result) for result in results] == [LoadRejectedError] * 2


async def test_a_load_waits_for_a_load_that_began_before_it_was_rejected() -> None:
    async with with_room_for(1) as fixture:
        hold = fixture.server.hold("earlier")
        (earlier,) = fixture.loading("earlier")
        await until(lambda: fixture.server.load_calls == ["earlier"])
        fixture.server.loaded["elsewhere"] = "?"  # takes the only room for a moment
        (waiting,) = fixture.loading("waiting")
        await fixture.until_waiting("waiting")
        del fixture.server.loaded["elsewhere"]
        hold.set()
        await asyncio.gather(earlier, waiting)
        assert fixture.observed.of("unloaded") == ["earlier"]


async def test_a_load_does_not_wait_for_a_load_that_began_after_it_was_rejected() -> None:
    async with with_room_for(1) as fixture:
        used = await fixture.models.load("used")
        fixture.models.acquire(used)
        (waiting,) = fixture.loading("waiting")
        await fixture.until_waiting("waiting")
        hold = fixture.server.hold("later")
        (later,) = fixture.loading("later")
        await until(lambda: "later" in fixture.server.load_calls)
        fixture.server.capacity = 0
        fixture.models.release(used)
        with pytest.raises(LoadRejectedError):
            await waiting
        assert not later.done()
        hold.set()
        with pytest.raises(LoadRejectedError):
            await later


async def test_a_load_that_fails_makes_room_for_one_that_waits() -> None:
    async with with_room_for(1) as fixture:
        hold = fixture.server.hold("bad")
        fixture.server.status["bad"] = 500
        (bad,) = fixture.loading("bad")
        await until(lambda: fixture.server.load_calls == ["bad"])
        fixture.server.loaded["elsewhere"] = "?"
        (waiting,) = fixture.loading("waiting")
        await fixture.until_waiting("waiting")
        del fixture.server.loaded["elsewhere"]
        hold.set()
        assert (await waiting).state is CopyState.LOADED
        with pytest.raises(LoadRejectedError):
            await bad
        assert fixture.removed == ["bad"]


async def test_a_load_waits_for_room_until_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded_models, "WAIT_FOR_ROOM_S", 0.01)
    async with with_room_for(1) as fixture:
        fixture.models.acquire(await fixture.models.load("used"))
        with pytest.raises(LoadRejectedError, match="507"):
            await fixture.models.load("b")


async def test_many_loads_with_little_room_all_succeed() -> None:
    async with with_room_for(2) as fixture:

        async def invoke(name: str) -> None:
            copy = fixture.models.loaded(name) or await fixture.models.load(name)
            if fixture.models.loaded(name) is not copy:
                return
            fixture.models.acquire(copy)
            await asyncio.sleep(0)
            fixture.models.release(copy)

        names = [f"m{number}" for number in range(12)]
        await asyncio.gather(*(invoke(name) for name in names * 5))
        assert set(fixture.observed.of("loaded")) == set(names)


async def test_a_load_goes_on_after_all_who_waited_were_cancelled() -> None:
    async with with_room_for(1) as fixture:
        hold = fixture.server.hold("a")
        loads = fixture.loading("a", "a")
        await until(lambda: fixture.server.load_calls)
        for load in loads:
            load.cancel()
        await asyncio.gather(*loads, return_exceptions=True)
        hold.set()
        await until(lambda: fixture.models.loaded("a"))
        assert fixture.models.copies["a"].idle
        assert fixture.server.load_calls == ["a"]


async def test_a_container_that_ends_during_a_load_is_reported_to_all_who_wait() -> None:
    async with with_room_for(1) as fixture:
        fixture.server.hold("a")
        loads = fixture.loading("a", "a")
        await until(lambda: fixture.server.load_calls)
        fixture.models.detach()
        results = await asyncio.gather(*loads, return_exceptions=True)
        assert [type(result) for result in results] == [LostWhileLoadingError] * 2
        with pytest.raises(ContainerGoneError, match="not running"):
            await fixture.models.load("a")


async def test_a_copy_changes_its_state_only_as_the_table_allows() -> None:
    async with with_room_for(1) as fixture:
        copy = await fixture.models.load("a")
        with pytest.raises(AssertionError, match="a is loaded and cannot become loading"):
            copy.become(CopyState.LOADING)


async def test_pinned_models_are_neither_evicted_nor_waited_for() -> None:
    async with with_room_for(2) as fixture:
        fixture.pinned = {"a", "b"}
        await asyncio.gather(*fixture.loading("a", "b"))
        with pytest.raises(LoadRejectedError):
            await fixture.models.load("c")
        assert sorted(fixture.models.copies) == ["a", "b"]


async def test_a_retired_model_is_unloaded_when_it_is_idle() -> None:
    async with with_room_for(2) as fixture:
        copy = await fixture.models.load("a")
        fixture.models.acquire(copy)
        retired = asyncio.create_task(fixture.models.retire(copy, "replaced"))
        await fixture.models.load("b")
        assert copy.state is CopyState.LOADED
        fixture.models.release(copy)
        await retired
        assert list(fixture.models.copies) == ["b"] and fixture.removed == ["a"]
