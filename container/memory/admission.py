"""Admission: whether a model fits into the container's memory, decided before it is loaded.

SageMaker reacts to 507 by unloading other models and retrying. The kernel reacts to a container over its limit by
killing one of its processes, so the 507 has to come first.
"""

import contextlib
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from polyhost.container.config import Config
from polyhost.container.memory.estimates import Estimates
from polyhost.container.memory.fingerprints import Fingerprint, Fingerprints
from polyhost.container.memory.gauge import MemoryGauge, MemoryState, private_bytes

_MB = 1024 * 1024
_MIN_RESERVE_BYTES = 96 * _MB
_RESERVE_SHARE = 0.05
# Per round: reading one process's page tables takes milliseconds, during which the fork server forks nothing.
_MEASURING_S = 0.005


@dataclass(frozen=True)
class Admission:
    """The decision on one load.

    Bytes: `free` is what is available beyond the reserve, the loads in progress, and `zygotes`, which start first.
    """

    need: int
    free: int
    limit: int
    zygotes: int = 0

    @property
    def fits(self) -> bool:
        return self.need <= self.free

    def __str__(self) -> str:
        beside = f" beside {self.zygotes // _MB} MB for its framework's imports" if self.zygotes else ""
        return (
            f"not enough memory for the model: it needs about {self.need // _MB} MB, but {max(0, self.free) // _MB} MB"
            f" of {self.limit // _MB} MB are free{beside}; unload models or raise the container's memory"
        )


def decide(need: int, state: MemoryState, reserve: int, loading: Iterable[int], zygotes: int = 0) -> Admission:
    """Decide on a load.

    `loading`: the needs of admitted loads that may not have taken their memory yet. `zygotes`: what those are yet to
    take that start before it.
    """
    return Admission(need, state.available - reserve - sum(loading) - zygotes, state.limit, zygotes)


def default_reserve(limit: int) -> int:
    """Return the bytes kept for the growth of models already loaded: requests in flight, Java's heap."""
    return max(_MIN_RESERVE_BYTES, int(limit * _RESERVE_SHARE))


class Measurable(Protocol):
    """A worker whose memory can be measured."""

    pid: int | None
    smaps: int | None
    early: bool  # it was forked before its zygote's warm-ups, and has more memory of its own than others will have

    @property
    def fingerprint(self) -> Fingerprint:
        """The fingerprint of its model."""

    @property
    def due_for_measuring(self) -> bool:
        """Whether it is idle after a load, or after its first requests, which may have taken more memory."""

    def on_measured(self) -> None:
        """Note that the measurement has been made, successfully or not."""


WorkerT = TypeVar("WorkerT", bound=Measurable)


class AdmissionControl:
    """Admits loads, and measures what the admitted models need."""

    def __init__(self, gauge: MemoryGauge, config: Config) -> None:
        self._gauge = gauge
        self._reserve = config.memory_reserve_bytes
        state_dir = Path(config.state_dir) if config.state_dir else None
        self._estimates = Estimates(state_dir and state_dir / "estimates.json")
        self._fingerprints = Fingerprints(state_dir and state_dir / "fingerprints.json")

    def fingerprint(self, framework: str, directory: Path) -> Fingerprint:
        """Return the fingerprint of a model, which is to be taken before its code runs."""
        return self._fingerprints.of(framework, directory)

    def decide(self, model: Fingerprint, loading: Iterable[int], zygotes: int = 0) -> Admission:
        """Decide on a load of this model; `loading` and `zygotes` as of the function."""
        state = self._gauge.read()
        reserve = self._reserve or default_reserve(state.limit)
        return decide(self._estimates.need(model), state, reserve, loading, zygotes)

    def measure(self, workers: Collection[WorkerT]) -> list[tuple[WorkerT, int]]:
        """Measure the workers that are due, as far as the time allows; return the bytes that their models need."""
        measured = []
        due = [worker for worker in workers if worker.pid is not None and worker.due_for_measuring]
        end = time.monotonic() + _MEASURING_S
        for worker in due:
            worker.on_measured()
            with contextlib.suppress(OSError):
                measured.append((worker, self._measure(worker)))
            if time.monotonic() > end:
                break
        if not due:
            self.save()
        return measured

    def _measure(self, worker: Measurable) -> int:
        model = worker.fingerprint
        if worker.early:
            size = private_bytes(worker.pid or 0, worker.smaps)
            self._estimates.add_early(model, size)
            return size
        if not self._estimates.settled(model):
            self._estimates.add(model, private_bytes(worker.pid or 0, worker.smaps))
        return self._estimates.need(model)

    def save(self) -> None:
        """Save what was measured for the next container."""
        self._estimates.save()
        self._fingerprints.save()
