"""How much memory a model will need: a guess from its files before its first load, a measurement afterwards."""

import hashlib
import json
import logging
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from polyhost.handlers import frameworks

_MAX_ESTIMATES = 20_000
_ENOUGH_COPIES = 8  # measured since the start

logger = logging.getLogger(__name__)


class Fingerprint(NamedTuple):
    """Identifies a model by its framework and the names and sizes of its files, which copies of an archive share."""

    framework: str
    key: str
    size: int  # of all files, in bytes


def fingerprint(framework: str, directory: Path) -> Fingerprint:
    """Compute the fingerprint of a model directory; this walks the directory, so do it once per model."""
    digest = hashlib.blake2b(framework.encode(), digest_size=12)
    total = 0
    for folder, folders, files in os.walk(directory):
        folders.sort()
        for name in sorted(files):
            size = _size(Path(folder, name))
            digest.update(f"{name}\0{size}\0".encode())
            total += size
    return Fingerprint(framework, digest.hexdigest(), total)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


class Estimates:
    """The most that each model was measured to need, by fingerprint; kept in a file across restarts."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._bytes: dict[str, int] = _read(path)
        self._changed = False
        self._measurements: Counter[str] = Counter()  # since the start

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
        if measured > self._bytes.get(model.key, 0):
            self._bytes[model.key] = measured
            self._changed = True
        while len(self._bytes) > _MAX_ESTIMATES:
            oldest = next(iter(self._bytes))
            del self._bytes[oldest], self._measurements[oldest]

    def settled(self, model: Fingerprint) -> bool:
        """Return whether enough copies of the model have been measured for another one to add nothing."""
        return self._measurements[model.key] >= _ENOUGH_COPIES

    def save(self) -> None:
        """Write the file atomically, if there is something new. If that fails, the next container learns anew."""
        if not self._changed or self._path is None:
            return
        self._changed = False
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new = self._path.with_suffix(f".{os.getpid()}")
            new.write_text(json.dumps(self._bytes))
            new.replace(self._path)
        except OSError as error:
            logger.warning("cannot save memory estimates to %s: %s", self._path, error)
            self._path = None


def _read(path: Path | None) -> dict[str, int]:
    try:
        known = json.loads(path.read_text()) if path is not None else {}
        return {str(key): int(value) for key, value in known.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
