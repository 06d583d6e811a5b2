"""Copies of invocations on their way to a shadow variant."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

# A shadow variant may be slower than the traffic; what is on its way to it is in memory, up to 6 MB each.
MAX_COPIES = 64
MAX_BYTES = 64 << 20
_PERIOD_S = 60.0


class MessageLimit:
    """Limits a message that would be repeated to one a minute, and counts those that it holds back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.held_back = 0
        self._clock = clock
        self._next: float | None = None

    def due(self) -> bool:
        """Return whether to pass on a message; if not, it is counted in `held_back`, until the next one is due."""
        now = self._clock()
        if self._next is not None and now < self._next:
            self.held_back += 1
            return False
        self._next = now + _PERIOD_S
        return True

    def describe(self) -> str:
        """Return a remark on the messages that were held back before this one, and forget them."""
        count, self.held_back = self.held_back, 0
        return f" ({count} more since the last message)" if count else ""


class ShadowCopies:
    """Runs copies in the background, a limited number and size of them at the same time."""

    def __init__(self, max_copies: int = MAX_COPIES, max_bytes: int = MAX_BYTES) -> None:
        self.drops = MessageLimit()
        self.failures = MessageLimit()
        self._max_copies = max_copies
        self._max_bytes = max_bytes
        self._bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> int:
        """How many copies have begun and not ended."""
        return len(self._tasks)

    def has_room(self, size: int) -> bool:
        """Return whether a copy with a body of this size may start; the first one always may."""
        if not self._tasks:
            return True
        return len(self._tasks) < self._max_copies and self._bytes + size <= self._max_bytes

    def start(self, work: Coroutine[Any, Any, None], size: int) -> None:
        """Run a copy whose body has this size."""
        self._bytes += size
        task = asyncio.create_task(work)
        self._tasks.add(task)

        def on_done(task: "asyncio.Task[None]") -> None:
            self._tasks.discard(task)
            self._bytes -= size

        task.add_done_callback(on_done)

    def cancel(self) -> None:
        """Withdraw all copies: the variant is about to be stopped."""
        for task in self._tasks:
            task.cancel()
