"""A store in a folder, and the cache over a container that a test plays."""

import tarfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from io import BytesIO
from pathlib import Path

import pytest

from polyhost.container.model_store.serving import ServingVersion
from polyhost.container.model_store.settings import StoreSettings
from polyhost.container.model_store.source.store import ModelStore
from polyhost.container.model_store.target_models import TargetModels
from tests.model_cache.stand_ins import StandInServer


class Fixture:
    """Models of a store in a folder; `names` are those that the container has loaded."""

    def __init__(self, folder: Path, capacity: int, **changes: object) -> None:
        self.store_folder = folder / "store"
        self.store_folder.mkdir(exist_ok=True)
        self.unpacked = folder / "unpacked"
        self.unpacked.mkdir(exist_ok=True)
        self.server = StandInServer(capacity)
        self.settings = StoreSettings(
            **{
                "where": str(self.store_folder),
                "unpack_dir": str(self.unpacked),
                "unpack_bytes": 1 << 30,
                "check_s": 1,
                "load_at_start": (),
                "pinned": (),
                **changes,
            }  # type: ignore[arg-type]
        )
        self.targets = TargetModels(self.settings, ModelStore(self.settings, {}), self.server)

    def put(self, name: str, content: bytes = b"x") -> None:
        """Put an archive into the store, by renaming it, as one should."""
        path = self.store_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}")
        with tarfile.open(new, "w:gz") as tar:
            member = tarfile.TarInfo("model.bin")
            member.size = len(content)
            tar.addfile(member, BytesIO(content))
        new.replace(path)

    async def invoke(self, name: str) -> ServingVersion:
        """Find or load a model, and use it for a moment."""
        serving = self.targets.target(name) or await self.targets.load(name)
        self.targets.acquire(serving)
        self.targets.release(serving)
        return serving

    @property
    def loaded(self) -> list[str]:
        """The names of the loaded models."""
        return sorted(version.rpartition("@")[0] for version in self.server.loaded.values())


StartStore = Callable[..., AbstractAsyncContextManager[Fixture]]


@pytest.fixture
def start_store(tmp_path: Path) -> StartStore:
    @asynccontextmanager
    async def start(capacity: int = 1000, **changes: object) -> AsyncIterator[Fixture]:
        fixture = Fixture(tmp_path, capacity, **changes)
        fixture.targets.start()
        yield fixture
        await fixture.targets.close()

    return start
