"""Stand-ins for the surroundings of a model cache: an object store, a container and an observer."""

import asyncio
import io
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from polyhost.model_cache.errors import ContainerGoneError, ModelDataMissingError
from polyhost.model_cache.interfaces import OpenObject
from polyhost.model_cache.model_url import ModelData

TIMEOUT_S = 60.0  # of a test that would otherwise never end; no result depends on it


def tar_gz(content: bytes = b"x") -> bytes:
    """Return an archive with one file."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        member = tarfile.TarInfo("model.bin")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


class MemoryStore:
    """Objects by key; `open` can be cleared to make downloads hang."""

    def __init__(self, **objects: bytes) -> None:
        self.objects = objects
        self.downloads: list[str] = []
        self.open = threading.Event()
        self.open.set()

    def etag(self, bucket: str, key: str) -> str:
        if key not in self.objects:
            raise ModelDataMissingError(f"s3://{bucket}/{key}")
        return str(hash(self.objects[key]))

    def get(self, bucket: str, key: str) -> OpenObject:
        return OpenObject(self.etag(bucket, key), len(self.objects[key]), self._chunks(key))

    def _chunks(self, key: str) -> Iterator[bytes]:
        self.downloads.append(key)
        assert self.open.wait(TIMEOUT_S)
        yield self.objects[key]


@dataclass(frozen=True)
class Response:
    """A response of the container's API."""

    status: int
    body: bytes = b""


class StandInServer:
    """A container that has room for so many models; loads of the names in `held` wait until the test releases them."""

    def __init__(self, capacity: int = 1000) -> None:
        self.capacity = capacity
        self.loaded: dict[str, str] = {}  # names by key
        self.load_calls: list[str] = []
        self.held: dict[str, asyncio.Event] = {}
        self.status: dict[str, int] = {}  # of the loads of models that fail
        self.gone = False

    def hold(self, name: str) -> asyncio.Event:
        self.held[name] = asyncio.Event()
        return self.held[name]

    async def load(self, key: str, url: str, target_model: str) -> Response:
        assert url.endswith(f"/{key}/model") or Path(url).is_dir()
        self.load_calls.append(target_model)
        await asyncio.sleep(0)
        if target_model in self.held:
            await self.held[target_model].wait()
        if self.gone:
            raise ContainerGoneError("the container closed the connection")
        if (status := self.status.get(target_model, 200)) != 200:
            return Response(status, b"as the test wants")
        if key in self.loaded:
            return Response(409)
        if len(self.loaded) >= self.capacity:
            return Response(507, b"full")
        self.loaded[key] = target_model
        return Response(200)

    async def unload(self, key: str) -> Response:
        await asyncio.sleep(0)
        return Response(200 if self.loaded.pop(key, None) else 404)


@dataclass
class Observed:
    """An observer that keeps what it hears, as (event, name)."""

    events: list[tuple[str, str]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def of(self, kind: str) -> list[str]:
        """Return the names of the models of one kind of event."""
        return [name for event, name in self.events if event == kind]

    def on_downloaded(self, name: str, data: ModelData, archive_bytes: int, seconds: float) -> None:
        self.events.append(("downloaded", name))

    def on_loaded(self, name: str, seconds: float) -> None:
        self.events.append(("loaded", name))

    def on_load_rejected(self, name: str) -> None:
        self.events.append(("rejected", name))

    def on_unloaded(self, name: str, seconds: float, reason: str) -> None:
        self.events.append(("unloaded", name))

    def on_removed_from_disk(self, name: str, reason: str) -> None:
        self.events.append(("removed", name))

    def on_overwritten(self, name: str, data: ModelData) -> None:
        self.events.append(("overwritten", name))

    def on_failed(self, name: str, message: str) -> None:
        self.events.append(("failed", name))
        self.messages.append(message)
