"""Scaling by load: a busy model gets more workers, up to the number of cores, and loses them when it is idle."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from polyhost.container.forkserver.records import HostedModel

_BUSY = 0.7  # share of the time that a model's workers are busy
_IDLE_ROUNDS = 30  # in a row, before a model loses a worker
_MIN_SPARE_CORES = 0.5


@dataclass
class _History:
    busy_ns: int = 0
    busy_rounds: int = 0
    idle_rounds: int = 0
    target: int = 1  # workers


@dataclass(frozen=True)
class Load:
    """One model at one moment. `busy_ns`: nanoseconds that its workers have been busy since they started."""

    name: str
    workers: int
    busy_ns: int


def loads_of(models: Iterable[HostedModel]) -> Iterator[Load]:
    """Yield the load of each model that may be resized now: none of a model that closes, or has a worker that loads."""
    for model in models:
        if model.is_open and model.workers and not any(worker.loading for worker in model.workers.values()):
            busy_ns = sum(worker.busy_ns() for worker in model.workers.values())
            yield Load(model.name, len(model.workers), busy_ns)


class Scaler:
    """Gets the loads of all models once a round, and calls `resize(name, workers)` for a change."""

    def __init__(
        self,
        cores: int,
        round_s: float,
        resize: Callable[[str, int], None],
        busy_rounds: int = 2,
        idle_share: float = 0.1,
    ) -> None:
        """`busy_rounds`: in a row, before a model gets another worker.

        `idle_share`: of the time that a model's workers may be busy in each round before it loses one.
        """
        self._busy_rounds = busy_rounds
        self._idle_share = idle_share
        self._cores = cores
        self._round_s = round_s
        self._resize = resize
        self._histories: dict[str, _History] = {}

    def round(self, loads: Iterable[Load]) -> None:
        """Resize the models that need it."""
        loads = list(loads)
        cores = {load.name: self._busy_cores(load) for load in loads}
        spare = self._cores - sum(cores.values())
        self._histories = {name: item for name, item in self._histories.items() if name in cores}
        for load in loads:
            self._scale(load, cores[load.name], spare)

    def _busy_cores(self, load: Load) -> float:
        """Return how many cores the model has kept busy since the last round."""
        history = self._histories.setdefault(load.name, _History(load.busy_ns, target=load.workers))
        # The sum decreases when a worker ends.
        busy_ns = max(0, load.busy_ns - history.busy_ns)
        history.busy_ns = load.busy_ns
        return min(load.workers, busy_ns / (self._round_s * 1e9))

    def _scale(self, load: Load, busy_cores: float, spare: float) -> None:
        history = self._histories[load.name]
        share = busy_cores / max(1, load.workers)
        history.busy_rounds = history.busy_rounds + 1 if share > _BUSY else 0
        history.idle_rounds = history.idle_rounds + 1 if share <= self._idle_share else 0
        settled = load.workers == history.target
        is_busy = history.busy_rounds >= self._busy_rounds
        if is_busy and settled and load.workers < self._cores and spare > _MIN_SPARE_CORES:
            self._change(load.name, history, load.workers + 1)
        elif history.idle_rounds >= _IDLE_ROUNDS and settled and load.workers > 1:
            self._change(load.name, history, load.workers - 1)
        elif not settled and max(history.busy_rounds, history.idle_rounds) > _IDLE_ROUNDS:
            history.target = load.workers  # the front end did not follow; start over from what there is

    def _change(self, name: str, history: _History, workers: int) -> None:
        history.target = workers
        history.busy_rounds = history.idle_rounds = 0
        self._resize(name, workers)
