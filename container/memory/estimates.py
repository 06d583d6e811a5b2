"""How much memory a model will need: a guess from its files before its first load, a measurement afterwards."""

from collections import Counter
from pathlib import Path

from polyhost.container.memory.fingerprints import Fingerprint
from polyhost.container.memory.state_file import StateFile
from polyhost.handlers import frameworks

_MAX_ESTIMATES = 20_000
_ENOUGH_COPIES = 8  # measured since the start


class Estimates:
    """The most that each model was measured to need, by fingerprint; kept in a file across restarts."""

    def __init__(self, path: Path | None) -> None:
        self._file = StateFile(path, int)
        self._bytes: dict[str, int] = self._file.read()
        self._measurements: Counter[str] = Counter()  # since the start
        self._of_early_workers: set[str] = set()  # those of these estimates

    def need(self, model: Fingerprint) -> int:
        """Return the bytes that the model was measured to need, or a guess."""
        known = self._bytes.get(model.key)
        if known is not None:
            return known
        row = frameworks.named(model.framework)
        return row.base_bytes + int(model.size * row.bytes_factor)

    def add(self, model: Fingerprint, measured: int) -> None:
        """Add a measurement in bytes; the largest one counts."""
        self._measurements[model.key] += 1
        if model.key in self._of_early_workers:
            self._of_early_workers.discard(model.key)
            self._bytes.pop(model.key, None)
        if measured > self._bytes.get(model.key, 0):
            self._bytes[model.key] = measured
            self._file.changed = True
        while len(self._bytes) > _MAX_ESTIMATES:
            oldest = next(iter(self._bytes))
            del self._bytes[oldest], self._measurements[oldest]

    def add_early(self, model: Fingerprint, measured: int) -> None:
        """Add one of an early worker: the largest counts until another worker of the model is measured."""
        if model.key not in self._bytes:
            self._of_early_workers.add(model.key)
        if model.key in self._of_early_workers and measured > self._bytes.get(model.key, 0):
            self._bytes[model.key] = measured
            self._file.changed = True

    def settled(self, model: Fingerprint) -> bool:
        """Return whether enough copies of the model have been measured for another one to add nothing."""
        return self._measurements[model.key] >= _ENOUGH_COPIES

    def save(self) -> None:
        """Write the file, if there is something new."""
        self._file.save(lambda: self._bytes)
