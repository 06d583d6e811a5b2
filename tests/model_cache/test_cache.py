"""Both halves of the model cache together: archives on a disk with a budget, models in a container."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from polyhost.model_cache.cache import CacheSettings, ModelCache
from polyhost.model_cache.disk_cache import key_of
from polyhost.model_cache.downloads import ModelSource, PrefixSource
from polyhost.model_cache.errors import LoadRejectedError, ModelDataMissingError
from polyhost.model_cache.model_url import ModelData
from tests.model_cache.stand_ins import TIMEOUT_S, MemoryStore, Observed, StandInServer, tar_gz
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


class Fixture:
    """A cache with its surroundings."""

    def __init__(self, folder: Path, capacity: int, volume_bytes: int, keeps_models: bool) -> None:
        self.folder = folder
        self.store = MemoryStore(**{f"p/{name}": tar_gz(name.encode() * 1000) for name in "abcd"})
        self.server = StandInServer(capacity)
        self.observed = Observed()
        source = PrefixSource(ModelSource(lambda region: self.store), ModelData("models", "p/"), "eu-west-1", TIMEOUT_S)
        settings = CacheSettings(volume_bytes, keeps_models)
        self.cache = ModelCache(folder, settings, source, self.observed, self._memory)
        self.cache.attach(self.server, "/models")

    async def _memory(self) -> tuple[int, int]:
        return 0, 1000

    async def invoke(self, name: str) -> None:
        copy = self.cache.loaded(name) or await self.cache.load(name)
        self.cache.acquire(copy)
        self.cache.release(copy)

    def unpacked(self) -> list[str]:
        """Return the names of the models on the disk."""
        return [name for name in "abcd" if (self.folder / key_of(name) / "model" / "model.bin").exists()]


@asynccontextmanager
async def cache_in(
    folder: Path, capacity: int = 1000, volume_bytes: int = 1 << 30, keeps_models: bool = True
) -> AsyncIterator[Fixture]:
    fixture = Fixture(folder, capacity, volume_bytes, keeps_models)
    yield fixture
    await fixture.cache.close()


async def test_an_evicted_model_stays_on_the_disk(tmp_path: Path) -> None:
    async with cache_in(tmp_path, capacity=1) as fixture:
        for name in "aba":
            await fixture.invoke(name)
        assert fixture.observed.of("unloaded") == ["a", "b"]
        assert fixture.store.downloads == ["p/a", "p/b"]


async def test_one_download_serves_a_load_and_the_one_after_the_container_was_lost(tmp_path: Path) -> None:
    async with cache_in(tmp_path) as fixture:
        fixture.store.open.clear()
        lost = asyncio.create_task(fixture.cache.load("a"))
        await until(lambda: fixture.store.downloads)
        fixture.cache.detach()
        await asyncio.gather(lost, return_exceptions=True)
        fixture.cache.attach(fixture.server, "/models")
        again = asyncio.create_task(fixture.cache.load("a"))
        await asyncio.sleep(0)
        fixture.store.open.set()
        await again
        assert fixture.store.downloads == ["p/a"]


async def test_a_full_volume_loses_archives_that_are_not_loaded_first(tmp_path: Path) -> None:
    async with cache_in(tmp_path, capacity=2, volume_bytes=3000) as fixture:
        for name in "abc":
            await fixture.invoke(name)
        assert fixture.unpacked() == ["a", "b", "c"]
        await fixture.invoke("b")
        await fixture.invoke("d")  # a is not loaded
        assert fixture.observed.of("removed") == ["a"]
        assert fixture.unpacked() == ["b", "c", "d"]


async def test_a_full_volume_evicts_idle_models_with_their_archives(tmp_path: Path) -> None:
    async with cache_in(tmp_path, volume_bytes=2000) as fixture:
        for name in "abac":
            await fixture.invoke(name)
        assert fixture.observed.of("unloaded") == ["b"]
        assert fixture.unpacked() == ["a", "c"] == sorted(fixture.cache.disk.archives)
        assert fixture.cache.disk.used_bytes == 2000


async def test_without_caching_a_model_is_removed_after_its_last_invocation(tmp_path: Path) -> None:
    async with cache_in(tmp_path, keeps_models=False) as fixture:
        copy = await fixture.cache.load("a")
        fixture.cache.acquire(copy)
        fixture.cache.acquire(copy)
        fixture.cache.release(copy)
        assert fixture.cache.loaded("a") is copy
        fixture.cache.release(copy)
        await until(lambda: not fixture.unpacked() and not fixture.server.loaded)


async def test_an_archive_that_failed_to_load_is_downloaded_again(tmp_path: Path) -> None:
    async with cache_in(tmp_path) as fixture:
        fixture.server.status["a"] = 500
        with pytest.raises(LoadRejectedError, match="500"):
            await fixture.invoke("a")
        del fixture.server.status["a"]
        await fixture.invoke("a")
        assert fixture.store.downloads == ["p/a", "p/a"]


async def test_an_overwritten_object_is_reported(tmp_path: Path) -> None:
    async with cache_in(tmp_path, capacity=1) as fixture:
        for name in "ab":
            await fixture.invoke(name)
        fixture.store.objects["p/a"] = tar_gz(b"new")
        await fixture.invoke("a")
        await until(lambda: fixture.observed.of("overwritten") == ["a"])
        assert fixture.store.downloads == ["p/a", "p/b"]


async def test_names_of_models_that_do_not_exist_are_not_kept(tmp_path: Path) -> None:
    async with cache_in(tmp_path) as fixture:
        with pytest.raises(ModelDataMissingError):
            await fixture.invoke("none")
        assert not fixture.cache.models.usage and not fixture.cache.models.copies
        assert fixture.observed.messages == ["there is no object at s3://models/p/none"]
