"""Archives from S3 and from folders: whole, or with the reason why not."""

import asyncio
import socket
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import NoCredentialsError

from polyhost.emulator import aws_clients
from polyhost.emulator.errors import ArchiveError, DownloadError, ModelDataMissing
from polyhost.emulator.hosting.downloads import Fetched, ModelSource
from polyhost.emulator.hosting.model_url import ModelData
from tests.emulator.archives import archive
from tests.emulator.conftest import REGION, Local
from tests.emulator.hosting_stand_ins import no_s3, until

LIMIT = 1 << 20


def _fetch(source: ModelSource, data: ModelData, folder: Path, limit: int = LIMIT) -> Coroutine[Any, Any, Fetched]:
    return source.fetch(data, folder / "KEY" / "model", limit, 20, REGION)


def _local(folder: Path, path: Path, limit: int = LIMIT) -> Fetched:
    async def fetch() -> Fetched:
        return await _fetch(ModelSource(no_s3), ModelData(None, str(path)), folder, limit)

    return asyncio.run(fetch())


def test_an_archive_larger_than_the_volume_is_not_even_fetched(tmp_path: Path, local: Local) -> None:
    content = archive("a")
    (tmp_path / "a.tar.gz").write_bytes(content)
    local.upload("larger", "a")

    async def from_s3() -> None:
        source = ModelSource(partial(aws_clients.client, "s3", url=local.emulator.url))
        await _fetch(source, ModelData("models", "larger/a.tar.gz"), tmp_path, len(content) - 1)

    with pytest.raises(ArchiveError, match=f"the archive has {len(content)} bytes, more than"):
        _local(tmp_path, tmp_path / "a.tar.gz", len(content) - 1)
    with pytest.raises(ArchiveError, match=r"the archive has \d+ bytes, more than"):
        asyncio.run(from_s3())
    assert list((tmp_path / "KEY").iterdir()) == []


def test_a_folder_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "dir.tar.gz").mkdir()
    with pytest.raises(ModelDataMissing, match=r"dir\.tar\.gz"):
        _local(tmp_path, tmp_path / "dir.tar.gz")


def test_another_s3_gets_the_users_own_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(NoCredentialsError):
        aws_clients.external_s3_client(REGION, "http://127.0.0.1:9").list_buckets()
    (tmp_path / "mine").write_text("[default]\naws_access_key_id = MINE\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "mine"))
    assert "MINE" in aws_clients.external_s3_client(REGION, "http://127.0.0.1:9").generate_presigned_url("list_buckets")


def test_no_proxy_stands_before_the_emulators_own_services(local: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert aws_clients.client("s3", REGION, local.emulator.url).list_buckets()["Buckets"]


def test_a_download_that_waits_its_turn_does_not_bring_its_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polyhost.emulator.hosting.downloads.PARALLEL_DOWNLOADS", 1)
    (tmp_path / "a.tar.gz").write_bytes(archive("a"))

    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            source = ModelSource(partial(aws_clients.client, "s3", url=url))
            (tmp_path / "gone").mkdir()
            hangs = asyncio.create_task(_fetch(source, ModelData("models", "a"), tmp_path))
            await until(lambda: source._turns.locked())
            queued = asyncio.create_task(_fetch(source, ModelData(None, f"{tmp_path}/a.tar.gz"), tmp_path / "gone"))
            await asyncio.sleep(0)
            (tmp_path / "gone").rmdir()
            hangs.cancel()
            with pytest.raises(DownloadError, match="No such file"):
                await queued
            assert not (tmp_path / "gone").exists()

    asyncio.run(scenario())
