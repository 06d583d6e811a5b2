"""The versions that the cache may ask for, by the ids that it knows them by."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from polyhost.container.model_store.source.versions import ModelVersion


class KnownVersions:
    """Versions that are in memory, on the disk, or on their way there.

    Of a name that the store does not have, nothing is kept.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, ModelVersion] = {}
        self._held: Counter[str] = Counter()  # ids of those that something waits for
        self._on_disk: dict[str, ModelVersion] = {}  # by name: what was last loaded from an archive

    def __getitem__(self, version_id: str) -> ModelVersion:
        return self._by_id[version_id]

    def __len__(self) -> int:
        return len(self._by_id)

    @contextmanager
    def held(self, version: ModelVersion) -> Iterator[None]:
        """Keep a version while the block runs: a load may wait for an unload, and be in no collection of the cache."""
        self._by_id[version.id] = version
        self._held[version.id] += 1
        try:
            yield
        finally:
            self._held[version.id] -= 1
            if not self._held[version.id]:
                del self._held[version.id]

    # On the disk

    def on_disk(self, name: str) -> ModelVersion | None:
        """Return the version of a model that was last loaded from an archive; it may have left the disk since."""
        return self._on_disk.get(name)

    def add_on_disk(self, version: ModelVersion) -> None:
        """Note the archive of a version as the one to load by the model's name."""
        self._by_id[version.id] = self._on_disk[version.target] = version

    def distrust(self, name: str) -> None:
        """Have the next load ask the store, whatever is on the disk."""
        self._on_disk.pop(name, None)

    def sweep(self, loaded: Callable[[str], bool], unpacked: Callable[[str], bool]) -> None:
        """Forget what is neither loaded, nor on the disk, nor waited for."""
        for name, version in list(self._on_disk.items()):
            if not unpacked(version.id):
                del self._on_disk[name]
        for version_id in list(self._by_id):
            if not (loaded(version_id) or unpacked(version_id) or version_id in self._held):
                del self._by_id[version_id]
