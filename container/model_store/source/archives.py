"""The archives of a store as the disk cache asks for them."""

from pathlib import Path

from polyhost.container.model_store import records
from polyhost.container.model_store.errors import LostWhileFetchedError
from polyhost.container.model_store.known_versions import KnownVersions
from polyhost.container.model_store.source.store import ModelStore
from polyhost.daemon_threads import in_daemon_thread
from polyhost.model_cache.errors import ModelDataMissingError
from polyhost.model_cache.interfaces import UnpackedArchive
from polyhost.model_cache.model_url import ModelData


class StoreArchives:
    """An `ArchiveSource` whose names are ids of `versions`."""

    def __init__(self, store: ModelStore, versions: KnownVersions, root: Path) -> None:
        self._store = store
        self._versions = versions
        self._root = root

    def address(self, name: str) -> ModelData:
        return self._versions[name].place

    async def fetch(self, name: str, folder: Path, limit_bytes: int) -> UnpackedArchive:
        """Unpack the archive, and leave a record for the next container."""
        version = self._versions[name]
        try:
            archive = await self._store.fetch(version, folder, limit_bytes)
        except ModelDataMissingError as error:
            message = f"{version.place} was removed from the store before it could be fetched"
            raise LostWhileFetchedError(message) from error
        await in_daemon_thread(lambda: records.write(self._root, version, archive), "record")
        return archive

    async def etag(self, name: str) -> str | None:
        """Return the version's own: `TargetModels` looks for others itself."""
        return self._versions[name].etag
