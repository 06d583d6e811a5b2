"""A model in the memory of a container, and its states."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

_KEPT_LATENCIES = 60


@dataclass
class ModelUsage:
    """Counts of a model's invocations here, which outlive its eviction."""

    invocations: int = 0
    loads: int = 0
    errors: int = 0
    load_ms: float = 0.0
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT_LATENCIES))


class CopyState(StrEnum):
    """States of a copy; the values are part of the JSON below /_polyhost/state."""

    LOADING = "loading"
    LOADED = "loaded"
    UNLOADING = "unloading"


_TRANSITIONS: dict[CopyState, frozenset[CopyState]] = {
    CopyState.LOADING: frozenset({CopyState.LOADED}),  # a load that fails removes the copy
    CopyState.LOADED: frozenset({CopyState.UNLOADING}),
    CopyState.UNLOADING: frozenset(),
}


@dataclass(eq=False)
class ModelCopy:
    """A model in memory, or on its way in or out."""

    name: str
    key: str
    usage: ModelUsage
    pinned: bool = False  # it is never evicted
    state: CopyState = CopyState.LOADING
    change: "asyncio.Task[None] | None" = None  # the load or the unload in progress
    in_flight: int = 0
    expected: int = 0  # invocations that wait for it; it is not evicted before they had their turn
    waits_for_room: bool = False
    rejected_beside: "set[ModelCopy] | None" = None  # the loads under way when this one was first rejected
    memory_bytes: int | None = None  # by how much its load made the memory in use grow, if that could be measured
    loaded_at: float = 0.0
    last_used: float = field(default_factory=time.time)
    checked: float = field(default_factory=time.monotonic)  # when its object was last compared to what is loaded

    @property
    def idle(self) -> bool:
        return self.state is CopyState.LOADED and not self.in_flight and not self.expected

    def become(self, state: CopyState, change: "asyncio.Task[None] | None" = None) -> None:
        assert state in _TRANSITIONS[self.state], f"{self.name} is {self.state} and cannot become {state}"
        self.state, self.change = state, change
