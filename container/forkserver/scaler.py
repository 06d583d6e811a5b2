"""Workers follow load: a model that stays busy gets more workers, up to the cores, and gives them back when idle.

MMS makes one worker thread for each; each asks for a worker of ours by connecting to the model's socket.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

_BUSY = 0.7
_IDLE, _IDLE_ROUNDS = 0.1, 30


@dataclass
class _History:
    busy_ns: int = 0
    busy_rounds: int = 0
    idle_rounds: int = 0
    wanted: int = 1


@dataclass(frozen=True)
class Load:
    """One model at one moment: nanoseconds that its workers have been busy, ever."""

    name: str
    workers: int
    busy_ns: int


class Scaler:
    """Told about all models once a round; asks `resize(name, workers)` for a change."""

    def __init__(self, cores: int, round_s: float, resize: Callable[[str, int], None], busy_rounds: int = 2) -> None:
        """`busy_rounds`: in a row, before a model gets another worker."""
        self._busy_rounds = busy_rounds
        self._cores = cores
        self._round_s = round_s
        self._resize = resize
        self._histories: dict[str, _History] = {}

    def round(self, loads: Iterable[Load]) -> None:
        loads = list(loads)
        shares = {load.name: self._share(load) for load in loads}
        spare = self._cores - sum(shares.values())  # cores that nobody is using
        self._histories = {name: item for name, item in self._histories.items() if name in shares}
        for load in loads:
            self._judge(load, shares[load.name], spare)

    def _share(self, load: Load) -> float:
        """How many cores the model has kept busy since the last round."""
        history = self._histories.setdefault(load.name, _History(load.busy_ns, wanted=load.workers))
        # A worker that ends takes its count with it.
        busy_ns = max(0, load.busy_ns - history.busy_ns)
        history.busy_ns = load.busy_ns
        return min(load.workers, busy_ns / (self._round_s * 1e9))

    def _judge(self, load: Load, share: float, spare: float) -> None:
        history = self._histories[load.name]
        per_worker = share / max(1, load.workers)
        history.busy_rounds = history.busy_rounds + 1 if per_worker > _BUSY else 0
        history.idle_rounds = history.idle_rounds + 1 if per_worker < _IDLE else 0
        settled = load.workers == history.wanted
        if history.busy_rounds >= self._busy_rounds and settled and load.workers < self._cores and spare > 0.5:
            self._change(load.name, history, load.workers + 1)
        elif history.idle_rounds >= _IDLE_ROUNDS and settled and load.workers > 1:
            self._change(load.name, history, load.workers - 1)
        elif not settled and max(history.busy_rounds, history.idle_rounds) > _IDLE_ROUNDS:
            history.wanted = load.workers  # MMS did not follow; start over from what is

    def _change(self, name: str, history: _History, workers: int) -> None:
        history.wanted = workers
        history.busy_rounds = history.idle_rounds = 0
        self._resize(name, workers)
