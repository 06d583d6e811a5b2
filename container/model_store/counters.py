"""What is counted of a model store. No number has a model's name: clients may ask for any number of names."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class StoreCounters:
    """Plain numbers, which the path of an invocation adds to."""

    hits: int = 0
    misses: int = 0
    downloads: int = 0
    download_bytes: int = 0
    download_seconds: float = 0.0
    loads: int = 0
    load_seconds: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)  # by type, of what callers were told
    evictions: Counter[str] = field(default_factory=Counter)  # by reason
    replacements: int = 0
    failed_replacements: int = 0
    store_failures: int = 0  # of looks for new versions


@dataclass(frozen=True)
class StoreLevels:
    """What is there at one moment. `oldest_use`: when the longest unused of the loaded models was used (time.time)."""

    loaded: int
    disk_bytes: int
    disk_limit_bytes: int
    oldest_use: float | None


@dataclass(frozen=True)
class StoreMetrics:
    """Both."""

    counters: StoreCounters
    levels: StoreLevels
