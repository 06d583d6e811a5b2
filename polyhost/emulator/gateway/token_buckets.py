"""Limits of requests per second (RFC 2697 calls the method a token bucket)."""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass


@dataclass
class _Bucket:
    tokens: float
    since: float


class TokenBuckets:
    """A bucket for each place: `burst` tokens at most, `rate` more every second; a request takes one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[Hashable, _Bucket] = {}

    def take(self, place: Hashable, rate: float, burst: float) -> bool:
        """Return whether there was a token for a request; a place without limits has no bucket."""
        if not rate and not burst:
            return True
        now = self._clock()
        bucket = self._buckets.setdefault(place, _Bucket(burst, now))
        bucket.tokens = min(burst, bucket.tokens + (now - bucket.since) * rate)
        bucket.since = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True
