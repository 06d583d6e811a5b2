"""The fork server's memory guard: asks whether a model fits, and learns what those that were let in really take."""

import contextlib
from collections.abc import Collection
from pathlib import Path

from container.admission import Estimates, Verdict, default_reserve, judge, private_bytes
from container.config import Config
from container.hosted import HostedModel, WorkerRecord
from container.memory import MemoryGauge

_MEASURED_A_ROUND = 5  # reading a large process's page tables takes milliseconds, in which nobody is forked


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
        for worker in due[:_MEASURED_A_ROUND]:
            worker.measured_answers = worker.status.counters[1]
            with contextlib.suppress(OSError):
                took = private_bytes(worker.pid or 0)
                self._estimates.learn(worker.model.framework, worker.model.directory, took)
                measured.append((worker.model, took))
        if not due:
            self.save()
        return measured

    def save(self) -> None:
        self._estimates.save()
