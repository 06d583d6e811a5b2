"""Object stores other than S3, each with a real server: found, fetched, replaced, missing, unreachable, refused."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from polyhost.container.model_store.errors import StoreAccessError, StoreUnreachableError
from polyhost.container.model_store.settings import StoreSettings
from polyhost.container.model_store.source.store import ModelStore
from polyhost.model_cache.errors import ModelDataMissingError
from tests.support.model_store import says
from tests.support.object_servers import ArchiveServer, azure_server, google_server, web_server

pytest.importorskip("obstore")
pytestmark = pytest.mark.anyio

LIMIT_BYTES = 1 << 20
SERVERS: dict[str, Callable[[Path], AbstractContextManager[ArchiveServer]]] = {
    "https": web_server,
    "http": lambda folder: web_server(folder, tls=False),
    "gs": google_server,
    "az": azure_server,
}


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ArchiveServer]:
    with SERVERS[request.param](tmp_path) as started:
        for name, value in started.variables.items():
            if name == "SSL_CERT_FILE":  # of the process; the others reach the front end through a pipe
                monkeypatch.setenv(name, value)
        yield started


def store_of(server: ArchiveServer, **changes: str) -> ModelStore:
    settings = StoreSettings(changes.pop("where", server.where), None, None, 30, (), ())
    return ModelStore(settings, {**server.variables, **changes})


async def test_an_archive_is_found_fetched_and_replaced(server: ArchiveServer, tmp_path: Path) -> None:
    server.put("team/a b+c.tar.gz", says("one"))
    store = store_of(server)
    first = await store.find("team/a b+c.tar.gz")
    unpacked = await store.fetch(first, tmp_path / "unpacked", LIMIT_BYTES)
    assert "one" in (tmp_path / "unpacked" / "inference.py").read_text()
    assert unpacked.archive_bytes == len(says("one"))
    assert await store.newer(first) is None
    server.put("team/a b+c.tar.gz", says("another answer"))
    second = await store.newer(first)
    assert second is not None and second.id != first.id
    if not server.where.startswith("http"):
        server.put("b.tgz", says("b"))
        server.put("readme.txt", b"")
        assert await store.names() == ["b.tgz", "team/a b+c.tar.gz"]
    server.remove("team/a b+c.tar.gz")
    with pytest.raises(ModelDataMissingError):
        await store.newer(second)


async def test_an_archive_that_was_found_to_be_fetched_is_on_its_way(server: ArchiveServer, tmp_path: Path) -> None:
    server.put("a.tar.gz", says("one"))
    store = store_of(server)
    version = await store.find_to_fetch("a.tar.gz")
    server.remove("a.tar.gz")  # a second request would not find it
    unpacked = await store.fetch(version, tmp_path / "unpacked", LIMIT_BYTES)
    assert (unpacked.etag, unpacked.archive_bytes) == (version.etag, len(says("one")))
    assert "one" in (tmp_path / "unpacked" / "inference.py").read_text()
    with pytest.raises(ModelDataMissingError):
        await store.fetch(version, tmp_path / "again", LIMIT_BYTES)
    with pytest.raises(ModelDataMissingError, match=f"{server.where}a.tar.gz"):
        await store.find_to_fetch("a.tar.gz")
    await store.close()


async def test_what_is_not_there_is_named(server: ArchiveServer, tmp_path: Path) -> None:
    store = store_of(server)
    with pytest.raises(ModelDataMissingError, match=f"{server.where}none.tar.gz"):
        await store.find("none.tar.gz")
    server.put("lost.tar.gz", says("lost"))
    version = await store.find("lost.tar.gz")
    server.remove("lost.tar.gz")
    with pytest.raises(ModelDataMissingError):
        await store.fetch(version, tmp_path / "unpacked", LIMIT_BYTES)
    assert not (tmp_path / "unpacked").exists()


async def test_a_certificate_of_a_stranger_is_refused(tmp_path: Path) -> None:
    with web_server(tmp_path) as server:
        assert os.environ.get("SSL_CERT_FILE") != server.variables["SSL_CERT_FILE"]
        with pytest.raises(StoreUnreachableError, match=r"not valid \(UnknownIssuer\); SSL_CERT_FILE names"):
            await store_of(server).find("a.tar.gz")


@pytest.mark.parametrize(
    ("where", "variables"),
    [
        ("https://127.0.0.1:1/models/", {}),
        ("gs://models/p/", {"GOOGLE_BASE_URL": "http://127.0.0.1:1", "GOOGLE_SKIP_SIGNATURE": "true"}),
        (
            "az://models/p/",
            {
                "AZURE_STORAGE_ACCOUNT_NAME": "a",
                "AZURE_STORAGE_ENDPOINT": "http://127.0.0.1:1/a",
                "AZURE_SKIP_SIGNATURE": "true",
            },
        ),
    ],
)
async def test_a_server_that_is_not_there_is_named(where: str, variables: dict[str, str]) -> None:
    settings = StoreSettings(where, None, None, 30, (), ())
    with pytest.raises(StoreUnreachableError, match=f"{where}a.tar.gz could not be read: .*Connection refused"):
        await ModelStore(settings, variables).find("a.tar.gz")


async def test_a_wrong_key_is_refused(tmp_path: Path) -> None:
    with azure_server(tmp_path) as server:
        server.put("a.tar.gz", says("a"))
        store = store_of(server, AZURE_STORAGE_ACCOUNT_KEY="d3Jvbmc=")
        with pytest.raises(StoreAccessError, match="is refused; check the credentials"):
            await store.find("a.tar.gz")
