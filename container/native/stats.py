"""Counters of each model: plain numbers that the hot path adds to; /metrics is rendered from them on request."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from itertools import accumulate

SECONDS_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
BATCH_SIZE_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128)


class Histogram:
    """Counts of values by bucket; a value belongs to the first bucket whose bound is not below it."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)  # the last one: above all bounds
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return (upper bound, count of all values up to it), as Prometheus expects."""
        names = [*map(str, self._bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self.counts)), strict=True))


class ModelStats:
    """Counters of one model's name; kept across unloads because Prometheus counters must be monotonic."""

    def __init__(self) -> None:
        self.responses: Counter[int] = Counter()  # by status
        self.errors: Counter[str] = Counter()  # by type, of what the front end itself rejected
        self.queue_seconds = Histogram(SECONDS_BOUNDS)
        self.predict_seconds = Histogram(SECONDS_BOUNDS)
        self.batch_sizes = Histogram(BATCH_SIZE_BOUNDS)
        self.loads = 0
        self.load_failures = 0
        self.unloads = 0
        self.worker_restarts = 0
        self.load_seconds: dict[str, float] = {}  # by phase
        self.memory_bytes = 0  # of one worker

    def add_load_seconds(self, phase: str, seconds: float) -> None:
        self.load_seconds[phase] = self.load_seconds.get(phase, 0.0) + seconds


@dataclass(frozen=True)
class Sample:
    """One model's name at one moment."""

    name: str
    stats: ModelStats
    loaded: bool
    workers: int
    waiting: int
