"""Events, measurements and log lines about the models of an instance."""

from polyhost.emulator.telemetry.recorder import EventKind, Place, Recorder
from polyhost.model_cache.model_url import ModelData


class CacheEvents:
    """A `CacheObserver` that records at one place."""

    def __init__(self, recorder: Recorder, place: Place) -> None:
        self._recorder = recorder
        self._place = place

    def on_downloaded(self, name: str, data: ModelData, archive_bytes: int, seconds: float) -> None:
        self._measure("ModelDownloadingTime", seconds, name)
        self._event(EventKind.DOWNLOADED, f"{archive_bytes} bytes from {data}", name, seconds)

    def on_loaded(self, name: str, seconds: float) -> None:
        self._measure("ModelLoadingTime", seconds, name)
        self._event(EventKind.LOADED, f"loaded in {seconds * 1e3:.0f} ms", name, seconds)

    def on_load_rejected(self, name: str) -> None:
        self._event(EventKind.REFUSED, "the container answered the load with 507", name)

    def on_unloaded(self, name: str, seconds: float, reason: str) -> None:
        self._measure("ModelUnloadingTime", seconds, name)
        self._event(EventKind.UNLOADED, f"unloaded, {reason}", name, seconds)

    def on_removed_from_disk(self, name: str, reason: str) -> None:
        self._event(EventKind.UNLOADED, f"deleted from the disk, {reason}", name)

    def on_overwritten(self, name: str, data: ModelData) -> None:
        message = f"{data} was overwritten; the copy loaded earlier stays in use, as on AWS: upload under a new name"
        self._event(EventKind.OVERWRITTEN, message, name)
        self._recorder.log_line(self._place, f"WARNING polyhost.emulator: {message}")

    def on_failed(self, name: str, message: str) -> None:
        self._event(EventKind.FAILED, message, name)

    def _measure(self, metric: str, seconds: float, model: str) -> None:
        self._recorder.measure(metric, seconds * 1e6, "Microseconds", self._place, model)

    def _event(self, kind: EventKind, message: str, model: str, seconds: float | None = None) -> None:
        self._recorder.event(kind, self._place, message, model=model, ms=None if seconds is None else seconds * 1e3)
