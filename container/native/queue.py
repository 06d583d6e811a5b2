"""Invocations that wait for a worker, a queue for each model; and one limit on their bytes and those still arriving."""

import contextlib
from collections import deque

from polyhost.container.native.invocation import Invocation

_MAX_PENDING_BYTES = 1 << 30


class PendingBytes:
    """The bytes of the waiting invocations of all models, and of the requests that clients are sending.

    Invariant: `total` is the sum of len(command) over the invocations in all queues that share this object, and of the
    sizes of all shares.
    """

    def __init__(self, limit: int = _MAX_PENDING_BYTES) -> None:
        self.total = 0
        self.limit = limit

    @property
    def exceeded(self) -> bool:
        """Whether no further invocation may wait. Below the limit one more may, however large it is."""
        return self.total >= self.limit


class PendingShare:
    """What one client's connection holds of the pending bytes."""

    __slots__ = ("_pending", "size")

    def __init__(self, pending: PendingBytes) -> None:
        self._pending = pending
        self.size = 0

    def set(self, size: int) -> None:
        self._pending.total += size - self.size
        self.size = size

    @property
    def exceeded(self) -> bool:
        return self._pending.exceeded

    @property
    def limit(self) -> int:
        return self._pending.limit


class InvocationQueue:
    """The waiting invocations of one model, the longest waiting first."""

    def __init__(self, pending: PendingBytes) -> None:
        self._waiting: deque[Invocation] = deque()
        self._pending = pending

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def first(self) -> Invocation:
        return self._waiting[0]

    def append(self, invocation: Invocation) -> None:
        self._pending.total += len(invocation.command)
        self._waiting.append(invocation)

    def put_back(self, invocation: Invocation) -> None:
        """Insert one that has waited before, ahead of all others."""
        self._pending.total += len(invocation.command)
        self._waiting.appendleft(invocation)

    def take(self) -> Invocation:
        """Remove the first and return it."""
        invocation = self._waiting.popleft()
        self._pending.total -= len(invocation.command)
        return invocation

    def remove(self, invocation: Invocation) -> None:
        """Remove one from anywhere in the queue; does nothing if it is not there."""
        with contextlib.suppress(ValueError):
            self._waiting.remove(invocation)
            self._pending.total -= len(invocation.command)
