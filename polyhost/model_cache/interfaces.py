"""What the model cache needs of its surroundings."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from polyhost.model_cache.model_url import ModelData


class ApiResponse(Protocol):
    """A response of the container's model management API."""

    @property
    def status(self) -> int:
        """The HTTP status: 200, 404 (not loaded), 409 (loaded already), 507 (no memory left) or another error."""

    @property
    def body(self) -> bytes:
        """The content."""


class ModelServer(Protocol):
    """A container that loads models (developer guide, "Custom containers contract for multi-model endpoints").

    Every method raises ContainerGoneError or ContainerTimeoutError.
    """

    async def load(self, key: str, url: str, target_model: str) -> ApiResponse:
        """Load the unpacked archive in the folder `url` under the name `key`."""

    async def unload(self, key: str) -> ApiResponse:
        """Unload the model of this name."""


@dataclass(frozen=True)
class UnpackedArchive:
    """An archive that has been downloaded and unpacked."""

    etag: str
    archive_bytes: int
    unpacked_bytes: int
    seconds: float  # for both


class ArchiveSource(Protocol):
    """Where the archives of one cache come from, by the names that the cache knows them by."""

    def address(self, name: str) -> ModelData:
        """Return where the archive is. Raises TargetOutsideError."""

    async def fetch(self, name: str, folder: Path, limit_bytes: int) -> UnpackedArchive:
        """Create the folder with the unpacked archive, complete or not at all. Raises DownloadError."""

    async def etag(self, name: str) -> str | None:
        """Return the archive's ETag, or None if it has been deleted. Raises DownloadError."""


@dataclass(frozen=True)
class OpenObject:
    """An object that is on its way; `chunks` yields its content, once, and raises DownloadError. To drop it ends it."""

    etag: str
    size: int
    chunks: Iterator[bytes]


class ObjectStore(Protocol):
    """S3, or what stands for it. Methods block; they are called in threads."""

    def etag(self, bucket: str, key: str) -> str:
        """Return an object's ETag. Raises ModelDataMissingError or DownloadError."""

    def get(self, bucket: str, key: str) -> OpenObject:
        """Ask for an object. Raises ModelDataMissingError or DownloadError."""


class CacheObserver(Protocol):
    """Hears what happens to models, in the event loop; must not block."""

    def on_downloaded(self, name: str, data: ModelData, archive_bytes: int, seconds: float) -> None:
        """Note that an archive was downloaded and unpacked."""

    def on_loaded(self, name: str, seconds: float) -> None:
        """Note that a model was loaded; `seconds` is the time of the container's own load."""

    def on_load_rejected(self, name: str) -> None:
        """Note a load that the container answered with 507; it is tried again if room can be made."""

    def on_unloaded(self, name: str, seconds: float, reason: str) -> None:
        """Note that a model was unloaded."""

    def on_removed_from_disk(self, name: str, reason: str) -> None:
        """Note that the unpacked archive of a model that was not loaded was removed."""

    def on_overwritten(self, name: str, data: ModelData) -> None:
        """Note that an object changed after its download; the copy on the disk stays in use."""

    def on_failed(self, name: str, message: str) -> None:
        """Note that a download, a load or an unload failed."""
