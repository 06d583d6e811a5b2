"""What happens to the store's models: counted, logged, and kept for the page."""

from polyhost.container.model_store.counters import StoreCounters
from polyhost.container.model_store.events import StoreEvents
from polyhost.events import get_logger
from polyhost.model_cache.model_url import ModelData

_MEMORY, _DISK, REPLACED = "memory", "disk", "replaced"

logger = get_logger(__name__)


class StoreObserver:
    """A `CacheObserver`. The names are those of versions: NAME@VERSION."""

    def __init__(self, counters: StoreCounters, events: StoreEvents) -> None:
        self._counters = counters
        self._events = events

    def on_downloaded(self, name: str, data: ModelData, archive_bytes: int, seconds: float) -> None:
        counters = self._counters
        counters.downloads += 1
        counters.download_bytes += archive_bytes
        counters.download_seconds += seconds
        self._log("downloaded", name, "fetched %d bytes from %s", archive_bytes, data, seconds=seconds)

    def on_loaded(self, name: str, seconds: float) -> None:
        self._counters.loads += 1
        self._counters.load_seconds += seconds
        self._log("loaded", name, "loaded %s from the store", name, seconds=seconds)

    def on_load_rejected(self, name: str) -> None:
        message = "%s does not fit beside the loaded models; the longest unused one is to go"
        self._log("refused", name, message, name)

    def on_unloaded(self, name: str, seconds: float, reason: str) -> None:
        kind = REPLACED if reason.startswith(REPLACED) else _DISK if "from the disk" in reason else _MEMORY
        self._counters.evictions[kind] += 1
        self._log("unloaded", name, "unloaded %s: %s", name, reason, seconds=seconds)

    def on_removed_from_disk(self, name: str, reason: str) -> None:
        self._counters.evictions[_DISK] += 1
        self._log("unloaded", name, "removed %s from the disk, %s", name, reason)

    def on_overwritten(self, name: str, data: ModelData) -> None:
        """Do nothing: `TargetModels` looks for new versions itself."""

    def on_failed(self, name: str, message: str) -> None:
        logger.error("%s: %s", name, message, extra=_fields(name))
        self._events.add("failed", name, message)

    def _log(self, kind: str, name: str, message: str, *arguments: object, seconds: float | None = None) -> None:
        duration = {} if seconds is None else {"duration_ms": round(seconds * 1e3, 1)}
        logger.info(message, *arguments, extra=_fields(name) | duration)
        self._events.add(kind, name, message % arguments, seconds)


def _fields(name: str) -> dict[str, object]:
    return {"model": name.rpartition("@")[0], "phase": "store"}
