"""Models by the names that clients give: loads, versions, evictions, and what is kept."""

import asyncio
import os
import shutil

import pytest

from polyhost.container.errors import Failure
from polyhost.container.model_store.errors import failure_of
from polyhost.container.model_store.serving import ServingVersion
from polyhost.container.model_store.source.versions import ModelVersion
from polyhost.container.model_store.target_models import TargetModels
from polyhost.model_cache.disk_cache import key_of
from polyhost.model_cache.errors import LoadRejectedError, ModelDataMissingError, ModelServingError
from tests.container.model_store.conftest import Fixture, StartStore
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


async def failure(error: pytest.ExceptionInfo[ModelServingError], name: str = "a.tar.gz") -> Failure:
    return failure_of(error.value, name)


async def test_one_load_serves_all_that_wait_and_outlives_those_that_give_up(start_store: StartStore) -> None:
    async with start_store() as store:
        store.put("a.tar.gz")
        version = (await store.targets.store.find("a.tar.gz")).id
        hold = store.server.hold(version)
        waiting = [asyncio.create_task(store.targets.load("a.tar.gz")) for _ in range(5)]
        await until(lambda: store.server.load_calls)
        waiting[0].cancel()
        hold.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert {id(result) for result in results[1:]} == {id(store.targets.target("a.tar.gz"))}
        assert store.server.load_calls == [version]


async def test_a_model_that_is_evicted_is_loaded_from_the_disk(start_store: StartStore) -> None:
    async with start_store(capacity=1) as store:
        for name in ("a.tar.gz", "b.tar.gz"):
            store.put(name)
        for name in ("a.tar.gz", "b.tar.gz", "a.tar.gz"):
            await store.invoke(name)
        assert store.loaded == ["a.tar.gz"]
        assert store.targets.counters.downloads == 2
        await until(lambda: store.targets.counters.evictions == {"memory": 2})


async def test_a_restart_serves_from_the_disk_while_the_store_is_away(start_store: StartStore) -> None:
    async with start_store() as store:
        store.put("a.tar.gz", b"content")
        await store.invoke("a.tar.gz")
    shutil.rmtree(store.store_folder)
    store.store_folder.mkdir()  # an empty one: the archive is gone as well
    async with start_store() as again:
        serving = await again.invoke("a.tar.gz")
        assert again.targets.counters.downloads == 0
        await until(lambda: serving.withdrawn)
        assert again.targets.target("a.tar.gz") is serving


async def test_what_an_interrupted_container_left_is_removed(start_store: StartStore) -> None:
    async with start_store() as store:
        store.put("a.tar.gz")
        version = (await store.invoke("a.tar.gz")).version
    (store.unpacked / "half" / "model").mkdir(parents=True)
    (store.unpacked / key_of(version.id) / "archive.json").write_text("{")
    async with start_store() as again:
        assert list(again.unpacked.iterdir()) == []
        await again.invoke("a.tar.gz")
        assert again.targets.counters.downloads == 1


async def test_a_new_version_takes_the_place_of_the_old_one_once_it_is_loaded(start_store: StartStore) -> None:
    async with start_store() as store:
        store.put("a.tar.gz")
        old = await store.invoke("a.tar.gz")
        store.targets.acquire(old)
        store.put("a.tar.gz", b"the new one")
        newer = await store.targets.store.find("a.tar.gz")
        hold = store.server.hold(newer.id)
        await until(lambda: newer.id in store.server.load_calls)
        assert await store.invoke("a.tar.gz") is old
        hold.set()
        await until(lambda: store.targets.target("a.tar.gz") is not old)
        assert store.loaded == ["a.tar.gz", "a.tar.gz"]  # the old one is in use
        store.targets.release(old)
        await until(lambda: store.loaded == ["a.tar.gz"])
        assert (await store.invoke("a.tar.gz")).version == newer
        await until(lambda: store.targets.counters.evictions == {"replaced": 1})
        await until(lambda: [path.name for path in store.unpacked.iterdir()] == [key_of(newer.id)])


async def test_a_version_that_does_not_load_leaves_the_old_one(start_store: StartStore) -> None:
    async with start_store() as store:
        store.put("a.tar.gz")
        old = await store.invoke("a.tar.gz")
        (store.store_folder / "a.tar.gz").write_bytes(b"no archive")
        await store.invoke("a.tar.gz")
        await until(lambda: store.targets.counters.failed_replacements)
        assert await store.invoke("a.tar.gz") is old
        for _ in range(2):
            await _until_looked_at(store, old)
        assert store.targets.counters.failed_replacements == 1
        store.put("a.tar.gz", b"mended")
        await store.invoke("a.tar.gz")
        await until(lambda: store.targets.counters.replacements)


async def test_a_version_that_has_no_room_beside_the_old_one_evicts_others_and_never_it(
    start_store: StartStore,
) -> None:
    async with start_store(capacity=2) as store:
        for name in ("other.tar.gz", "a.tar.gz"):
            store.put(name)
            await store.invoke(name)
        old = store.targets.target("a.tar.gz")
        store.put("a.tar.gz", b"new")
        await store.invoke("a.tar.gz")
        await until(lambda: store.targets.counters.replacements)
        assert store.targets.target("a.tar.gz") is not old
        await until(lambda: store.loaded == ["a.tar.gz"])
        store.server.capacity = 1
        current = store.targets.target("a.tar.gz")
        store.put("a.tar.gz", b"newest")
        await store.invoke("a.tar.gz")
        await until(lambda: store.targets.counters.failed_replacements)
        assert await store.invoke("a.tar.gz") is current


async def test_pinned_models_stay(start_store: StartStore) -> None:
    async with start_store(capacity=2, pinned=("team/*",)) as store:
        for name in ("team/a.tar.gz", "b.tar.gz", "c.tar.gz"):
            store.put(name)
            await store.invoke(name)
        assert store.loaded == ["c.tar.gz", "team/a.tar.gz"]


async def test_an_unpacked_model_is_served_where_it_lies_and_followed(start_store: StartStore) -> None:
    async with start_store() as store:
        folder = store.store_folder / "plain" / "model"
        folder.mkdir(parents=True)
        (folder / "inference.py").write_text("1")
        old = await store.invoke("plain")
        assert old.version.folder == str(folder)
        (folder / "cache").write_text("the model's own")
        assert await store.targets.store.newer(old.version) is None
        (folder / "inference.py").write_text("changed")
        await store.invoke("plain")
        await until(lambda: store.targets.counters.replacements)
        assert list(store.unpacked.iterdir()) == []
        assert store.loaded == ["plain"] or store.targets.target("plain") is not old


@pytest.mark.parametrize("name", ["../a", "a/../b", "/a", "a//b", "a/", ".", "", "a\0b", "a\nb", " a", "x" * 1025])
async def test_names_that_lead_elsewhere_are_refused(start_store: StartStore, name: str) -> None:
    async with start_store() as store:
        with pytest.raises(ModelServingError) as error:
            await store.targets.load(name)
        assert (await failure(error)).code == 400


async def test_a_link_out_of_the_store_is_refused(start_store: StartStore) -> None:
    async with start_store() as store:
        (store.store_folder / "etc").symlink_to("/etc")
        with pytest.raises(ModelServingError, match="leads out of") as error:
            await store.targets.load("etc")
        assert (await failure(error)).code == 400


async def test_ten_thousand_unknown_names_leave_nothing(start_store: StartStore) -> None:
    async with start_store() as store:
        store.put("a.tar.gz")
        await store.invoke("a.tar.gz")
        kept = _kept(store.targets)

        async def ask(number: int) -> None:
            with pytest.raises(ModelDataMissingError):
                await store.targets.load(f"made-up-{number}.tar.gz")

        for start in range(0, 10_000, 100):
            await asyncio.gather(*map(ask, range(start, start + 100)))
        assert _kept(store.targets) == kept
        assert len(list(store.unpacked.iterdir())) == 1


def _kept(targets: TargetModels) -> dict[str, int]:
    """Return the sizes of all collections that these objects have."""
    owners = (targets, targets._known, targets._models, targets._disk, targets._replacements, targets._failures)
    items = ((f"{type(owner).__name__}.{name}", value) for owner in owners for name, value in vars(owner).items())
    return {name: len(value) for name, value in items if isinstance(value, dict | set | list)}


async def test_each_failure_has_a_status_of_its_own(start_store: StartStore) -> None:
    async with start_store(unpack_bytes=100_000) as store:
        store.put("large.tar.gz", os.urandom(1000) * 200)
        (store.store_folder / "broken.tar.gz").write_bytes(b"\x1f\x8b nothing")
        store.put("rejected.tar.gz")
        store.server.status[(await store.targets.store.find("rejected.tar.gz")).id] = 418
        expected = {
            "none.tar.gz": (404, "ModelNotFoundError"),
            "large.tar.gz": (413, "ArchiveTooLargeError"),
            "broken.tar.gz": (422, "InvalidArchiveError"),
            "rejected.tar.gz": (418, "LoadError"),
        }
        for name, status in expected.items():
            with pytest.raises(ModelServingError) as error:
                await store.targets.load(name)
            found = failure_of(error.value, name)
            assert (found.code, found.type) == status, found
        shutil.rmtree(store.store_folder)
        with pytest.raises(ModelServingError) as error:
            await store.targets.load("a.tar.gz")
        found = failure_of(error.value, "a.tar.gz")
        assert (found.code, found.type) == (503, "StoreUnreachableError") and "mounted" in found.message


async def test_a_broken_model_is_not_fetched_again_and_again(start_store: StartStore) -> None:
    async with start_store() as store:
        store.put("a.tar.gz")
        store.server.status[(await store.targets.store.find("a.tar.gz")).id] = 400
        for _ in range(10):
            with pytest.raises(LoadRejectedError):
                await store.targets.load("a.tar.gz")
        assert store.targets.counters.downloads == 1
        store.put("a.tar.gz", b"mended")
        await store.invoke("a.tar.gz")


async def test_a_full_disk_budget_removes_what_was_used_longest_ago(start_store: StartStore) -> None:
    async with start_store(unpack_bytes=2500) as store:
        for name in ("a.tar.gz", "b.tar.gz", "c.tar.gz"):
            store.put(name, os.urandom(1000))
            await store.invoke(name)
        assert store.loaded == ["b.tar.gz", "c.tar.gz"]
        assert len(list(store.unpacked.iterdir())) == 2
        await until(lambda: store.targets.counters.evictions == {"disk": 1})


async def _until_looked_at(store: Fixture, serving: ServingVersion) -> None:
    """Return when the store has been asked once more for a newer version."""
    last = serving.checked
    while serving.checked == last:
        await store.invoke(serving.version.target)
        await asyncio.sleep(0.01)


async def test_an_archive_that_is_removed_before_it_is_fetched_is_gone(start_store: StartStore) -> None:
    async with start_store() as store:
        store.put("a.tar.gz")
        find = store.targets.store.find

        async def find_and_remove(target: str) -> ModelVersion:
            version = await find(target)
            (store.store_folder / target).unlink(missing_ok=True)
            return version

        store.targets.store.find = find_and_remove  # type: ignore[method-assign]  # what happens between two requests
        with pytest.raises(ModelServingError, match="removed from the store") as error:
            await store.targets.load("a.tar.gz")
        assert (await failure(error)).code == 410


async def test_what_was_made_for_models_that_left_is_swept(start_store: StartStore) -> None:
    async with start_store(capacity=1, unpack_bytes=1500) as store:
        for number in range(5):
            store.put(f"{number}.tar.gz", os.urandom(1000))
            await store.invoke(f"{number}.tar.gz")
        await until(lambda: len(store.targets.serving) == 1 and len(store.targets._known) == 1)
        assert len(store.targets._models.usage) == 1


async def test_a_load_that_waits_for_an_unload_is_not_swept(start_store: StartStore) -> None:
    """A client asks for a model just when it leaves memory and disk, and the sweep comes between."""
    async with start_store(check_s=0) as store:
        store.put("a.tar.gz")
        await store.invoke("a.tar.gz")
        sweeping = True

        async def sweep() -> None:
            while sweeping:
                store.targets._sweep()
                await asyncio.sleep(0)

        sweeps = asyncio.create_task(sweep())
        for _ in range(20):
            eviction = asyncio.create_task(store.targets._models.evict_idle("from the disk", with_files=True))
            await until(lambda: store.targets.target("a.tar.gz") is None)
            await asyncio.gather(*(store.targets.load("a.tar.gz") for _ in range(3)))
            assert await eviction
        sweeping = False
        await sweeps
