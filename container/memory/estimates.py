"""Whether a model fits before it is loaded: what it will need, against what the container may still use.

SageMaker's answer to 507 is to unload other models and to try again. The kernel's answer to a container over its limit
is to kill a process of it, so the 507 has to come first.
"""

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from polyhost.container.memory.cgroup import MemoryState

_MB = 1024 * 1024
# What a model costs besides its files: its process, page tables, Java's threads; until loads have taught better.
_BASE_BYTES = {"mxnet": 24 * _MB, "torch": 16 * _MB}
_DEFAULT_BASE_BYTES = 12 * _MB
# What a byte of a model's files becomes in memory: compressed pickles grow, and a loader holds file and model at once.
_FACTORS = {"sklearn": 3.0}
_DEFAULT_FACTOR = 2.0
_MIN_RESERVE_BYTES = 96 * _MB
_RESERVE_SHARE = 0.05
_KEPT_ESTIMATES = 20_000
_ENOUGH_COPIES = 8  # measured since the start

logger = logging.getLogger("polyhost.memory")


def default_reserve(limit: int) -> int:
    """For the growth of what serves already: requests in flight, Java's heap."""
    return max(_MIN_RESERVE_BYTES, int(limit * _RESERVE_SHARE))


@dataclass(frozen=True)
class Verdict:
    """In bytes. `free`: what is available, less the reserve and what loads under way will take."""

    need: int
    free: int
    limit: int

    @property
    def fits(self) -> bool:
        return self.need <= self.free

    def __str__(self) -> str:
        return (
            f"not enough memory for the model: it needs about {self.need // _MB} MB, {max(0, self.free) // _MB} MB are"
            f" free of {self.limit // _MB} MB; unload models or raise the container's memory"
        )


def judge(need: int, state: MemoryState, reserve: int, pending: Iterable[int]) -> Verdict:
    """`pending`: the needs of loads that have been let in and may not have taken their memory yet."""
    return Verdict(need, state.available - reserve - sum(pending), state.limit)


class Estimates:
    """What models took, remembered by the names and sizes of their files; kept in a file over restarts."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[str, int] = _read(path)
        self._changed = False
        self._measured: Counter[str] = Counter()

    def need(self, framework: str, directory: Path) -> int:
        key, size = _fingerprint(framework, directory)
        known = self._known.get(key)
        if known is not None:
            return known
        base = _BASE_BYTES.get(framework, _DEFAULT_BASE_BYTES)
        return base + int(size * _FACTORS.get(framework, _DEFAULT_FACTOR))

    def learn(self, framework: str, directory: Path, took: int) -> None:
        """Keeps the most that the model was seen to take."""
        key, _ = _fingerprint(framework, directory)
        self._measured[key] += 1
        if took > self._known.get(key, 0):
            self._known[key] = took
            self._changed = True
        while len(self._known) > _KEPT_ESTIMATES:
            oldest = next(iter(self._known))
            del self._known[oldest], self._measured[oldest]

    def settled(self, framework: str, directory: Path) -> bool:
        """Whether copies of the model have been measured so often that another one would teach nothing."""
        return self._measured[_fingerprint(framework, directory)[0]] >= _ENOUGH_COPIES

    def save(self) -> None:
        """Whole or not at all; where the place cannot be written, the next container learns anew."""
        if not self._changed or self._path is None:
            return
        self._changed = False
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new = self._path.with_suffix(f".{os.getpid()}")
            new.write_text(json.dumps(self._known))
            new.replace(self._path)
        except OSError as error:
            logger.warning("what models need cannot be kept in %s: %s", self._path, error)
            self._path = None


def _read(path: Path | None) -> dict[str, int]:
    try:
        known = json.loads(path.read_text()) if path is not None else {}
        return {str(key): int(value) for key, value in known.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _fingerprint(framework: str, directory: Path) -> tuple[str, int]:
    """A key by the files' names and sizes, which copies of one archive share; and their bytes in all."""
    digest = hashlib.blake2b(framework.encode(), digest_size=12)
    total = 0
    for folder, folders, files in os.walk(directory):
        folders.sort()
        for name in sorted(files):
            size = _size(Path(folder, name))
            digest.update(f"{name}\0{size}\0".encode())
            total += size
    return digest.hexdigest(), total


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def private_bytes(pid: int) -> int:
    """What would come back if the process ended: its private pages and its page tables (proc(5))."""
    proc = Path("/proc") / str(pid)
    rollup = _kilobytes(proc / "smaps_rollup")
    tables = _kilobytes(proc / "status").get("VmPTE", 0)
    return (rollup.get("Private_Clean", 0) + rollup.get("Private_Dirty", 0) + tables) * 1024


def _kilobytes(path: Path) -> Mapping[str, int]:
    table: dict[str, int] = {}
    for line in path.read_text().splitlines():
        words = line.split()
        if len(words) == 3 and words[2] == "kB":
            table[words[0].rstrip(":")] = int(words[1])
    return table
