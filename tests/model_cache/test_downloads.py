"""Archives from an object store and from a folder: complete, or with the reason why not."""

import asyncio
from pathlib import Path

import pytest

from polyhost.model_cache.downloads import ModelSource
from polyhost.model_cache.errors import DownloadError, ModelDataInvalidError, ModelDataMissingError
from polyhost.model_cache.interfaces import UnpackedArchive
from polyhost.model_cache.model_url import ModelData
from tests.model_cache.stand_ins import TIMEOUT_S, MemoryStore, tar_gz
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

LIMIT = 1 << 20
IN_STORE = ModelData("models", "a")


async def fetch(
    source: ModelSource, data: ModelData, folder: Path, limit: int = LIMIT, timeout_s: float = TIMEOUT_S
) -> UnpackedArchive:
    return await source.fetch(data, folder / "KEY" / "model", limit, timeout_s, "eu-west-1")


def local_archive(tmp_path: Path) -> ModelData:
    (tmp_path / "a.tar.gz").write_bytes(tar_gz())
    return ModelData(None, str(tmp_path / "a.tar.gz"))


async def test_an_archive_is_unpacked(tmp_path: Path) -> None:
    source = ModelSource(lambda region: MemoryStore(a=tar_gz(b"weights")))
    for data in (IN_STORE, local_archive(tmp_path)):
        archive = await fetch(source, data, tmp_path)
        assert (tmp_path / "KEY" / "model" / "model.bin").stat().st_size == archive.unpacked_bytes
        assert [path.name for path in (tmp_path / "KEY").iterdir()] == ["model"]
        assert await source.etag(data, "eu-west-1") == archive.etag


async def test_an_archive_larger_than_the_volume_is_not_downloaded(tmp_path: Path) -> None:
    store = MemoryStore(a=tar_gz())
    for data in (IN_STORE, local_archive(tmp_path)):
        with pytest.raises(ModelDataInvalidError, match=f"the archive has {len(tar_gz())} bytes, more than"):
            await fetch(ModelSource(lambda region: store), data, tmp_path, len(tar_gz()) - 1)
    assert store.downloads == []
    assert list((tmp_path / "KEY").iterdir()) == []


async def test_an_archive_that_cannot_be_unpacked_is_named(tmp_path: Path) -> None:
    source = ModelSource(lambda region: MemoryStore(a=b"no archive"))
    with pytest.raises(ModelDataInvalidError, match="s3://models/a: not a complete gzip-compressed tar"):
        await fetch(source, IN_STORE, tmp_path)
    assert list((tmp_path / "KEY").iterdir()) == []


async def test_an_object_that_does_not_exist(tmp_path: Path) -> None:
    source = ModelSource(lambda region: MemoryStore())
    (tmp_path / "dir.tar.gz").mkdir()
    for data in (IN_STORE, ModelData(None, f"{tmp_path}/none"), ModelData(None, f"{tmp_path}/dir.tar.gz")):
        with pytest.raises(ModelDataMissingError) as missing:
            await fetch(source, data, tmp_path)
        assert missing.value.url == str(data)
        assert await source.etag(data, "eu-west-1") is None


async def test_a_download_that_takes_too_long_leaves_nothing(tmp_path: Path) -> None:
    store = MemoryStore(a=tar_gz())
    store.open.clear()
    with pytest.raises(DownloadError, match="not downloaded within"):
        await fetch(ModelSource(lambda region: store), IN_STORE, tmp_path, timeout_s=0.01)
    store.open.set()
    await until(lambda: list((tmp_path / "KEY").glob("*")) == [])


async def test_a_queued_download_does_not_bring_a_removed_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polyhost.model_cache.downloads.PARALLEL_DOWNLOADS", 1)
    store = MemoryStore(a=tar_gz())
    store.open.clear()
    source = ModelSource(lambda region: store)
    (tmp_path / "instance").mkdir()
    hanging = asyncio.create_task(fetch(source, IN_STORE, tmp_path))
    await until(lambda: store.downloads)
    queued = asyncio.create_task(fetch(source, local_archive(tmp_path), tmp_path / "instance"))
    await asyncio.sleep(0)
    (tmp_path / "instance").rmdir()
    hanging.cancel()
    with pytest.raises(DownloadError, match="No such file"):
        await queued
    assert not (tmp_path / "instance").exists()
    store.open.set()
