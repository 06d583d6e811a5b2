"""What is counted for each model; the hot path adds to plain numbers, Prometheus' page is made from them when asked."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Histogram:
    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)  # the last: above all bounds
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative, as Prometheus has them."""
        names = [*map(str, self._bounds), "+Inf"]
        sums = [sum(self.counts[: index + 1]) for index in range(len(self.counts))]
        return list(zip(names, map(float, sums), strict=True))


class ModelStats:
    """Of one model's name: they outlast an unload, for counters that go down are none."""

    def __init__(self) -> None:
        self.answers: Counter[int] = Counter()  # by status
        self.errors: Counter[str] = Counter()  # by kind, for what the front end itself refused
        self.queue_seconds = Histogram(SECONDS)
        self.predict_seconds = Histogram(SECONDS)
        self.batch_sizes = Histogram(SIZES)
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
