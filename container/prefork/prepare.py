"""What a zygote does between its imports and its first fork."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

from polyhost.container.config import Config, Optimization
from polyhost.container.prefork import heap, prefault
from polyhost.container.prefork.prefault import Exercise, Prefault
from polyhost.container.prefork.warm_up import warm_up, worker_exercise

LoadExercise = Callable[[], AbstractContextManager[Exercise]]
"""Opens a tiny model's folder; what it yields loads the model and predicts once."""


def prepare_for_forks(config: Config, load_exercises: Sequence[LoadExercise]) -> Prefault:
    """Warm up the worker's code and settle the heap; return the prefault for each fork to run.

    The prefault is empty, and nothing is done for it, where the kernel has none. `load_exercises` are those of the
    framework.
    """
    fill = config.enabled(Optimization.FILL_HEAP)
    warm_up(config)
    heap.settle(fill)
    if not (config.enabled(Optimization.PREFAULT) and prefault.is_supported()):
        return Prefault()
    learned = Prefault.learn(_exercises(config, load_exercises))
    heap.settle(fill)  # learning has left holes
    return learned


def _exercises(config: Config, load_exercises: Sequence[LoadExercise]) -> Iterator[Exercise]:
    """Yield exercises of a whole worker; each has to be run before the next one is asked for."""
    with worker_exercise(config) as serve:
        if not load_exercises:
            yield serve
        for load_exercise in load_exercises:
            with load_exercise() as load_and_predict:
                yield lambda: (serve(), load_and_predict())
