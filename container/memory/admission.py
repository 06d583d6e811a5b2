"""The fork server's memory guard: asks whether a model fits, and learns what those that were let in really take."""

import contextlib
import time
from collections.abc import Collection
from pathlib import Path

from polyhost.container.config import Config
from polyhost.container.forkserver.records import HostedModel, WorkerRecord
from polyhost.container.memory.cgroup import MemoryGauge
from polyhost.container.memory.estimates import Estimates, Verdict, default_reserve, judge, private_bytes

_MEASURING_S = 0.005  # a round: reading one process's page tables takes milliseconds, in which nobody is forked


class MemoryGuard:
    def __init__(self, gauge: MemoryGauge, config: Config) -> None:
        self._gauge = gauge
        self._reserve = config.memory_reserve_bytes
        self._estimates = Estimates(Path(config.state_dir) / "estimates.json" if config.state_dir else None)

    def judge(self, model: HostedModel, workers: Collection[WorkerRecord]) -> Verdict:
        """Sets the model's need, which counts as taken while it loads."""
        model.need = self._estimates.need(model.framework, model.directory)
        state = self._gauge.read()
        reserve = self._reserve or default_reserve(state.limit)
        return judge(model.need, state, reserve, [worker.need for worker in workers if worker.loading])

    def measure(self, workers: Collection[WorkerRecord]) -> list[tuple[HostedModel, int]]:
        """Once after a load, and once after requests, which may add to it; the bytes that models were seen to take."""
        measured = []
        due = [worker for worker in workers if worker.pid is not None and worker.due_for_measuring]
        end = time.monotonic() + _MEASURING_S
        for worker in due:
            worker.measured_answers = worker.status.counters[1]
            framework, directory = worker.model.framework, worker.model.directory
            with contextlib.suppress(OSError):
                if not self._estimates.settled(framework, directory):
                    self._estimates.learn(framework, directory, private_bytes(worker.pid or 0))
                measured.append((worker.model, self._estimates.need(framework, directory)))
            if time.monotonic() > end:
                break
        if not due:
            self.save()
        return measured

    def save(self) -> None:
        self._estimates.save()
