"""What a zygote does between its imports and its first fork."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial

from polyhost.container.config import Config, Optimization
from polyhost.container.prefork import code_placement, heap, prefault
from polyhost.container.prefork.prefault import Exercise, Prefault
from polyhost.container.prefork.warm_up import ROUNDS, warm_up, worker_exercise
from polyhost.container.worker import surroundings

LoadExercise = Callable[[], AbstractContextManager[Exercise]]
"""Opens a tiny model's folder; what it yields loads the model and predicts once."""


def prepare_for_forks(config: Config, load_exercises: Sequence[LoadExercise]) -> Prefault:
    """Warm up the worker's code and settle the heap; return the prefault for each fork to run.

    The prefault is empty, and nothing is done for it, where the kernel has none. `load_exercises` are those of the
    framework.
    """
    fill = config.enabled(Optimization.FILL_HEAP)
    warm_up(config)
    if fill:
        _place_code(config, load_exercises)
    heap.settle(fill)
    if not (config.enabled(Optimization.PREFAULT) and prefault.is_supported()):
        return Prefault()
    learned = Prefault.learn(_exercises(config, load_exercises))
    heap.settle(fill)  # learning has left holes
    return learned


def _place_code(config: Config, load_exercises: Sequence[LoadExercise]) -> None:
    with _worker_and_loads(config, load_exercises) as run:
        codes = code_placement.executed_by(run)
        functions = code_placement.own_functions(codes)
        heap.settle()
        code_placement.place(functions, codes)
        for _ in range(ROUNDS):
            run()


@contextmanager
def _worker_and_loads(config: Config, load_exercises: Sequence[LoadExercise]) -> Iterator[Exercise]:
    """Yield what runs a worker and all load exercises in this process, one after the other."""
    with ExitStack() as stack:
        exercises: list[Exercise] = [stack.enter_context(worker_exercise(config))]
        exercises += [stack.enter_context(exercise()) for exercise in load_exercises]
        yield partial(_run_all, exercises)


def _exercises(config: Config, load_exercises: Sequence[LoadExercise]) -> Iterator[Exercise]:
    """Yield exercises of a whole worker; each has to be run, in a fork, before the next one is asked for."""
    with worker_exercise(config) as serve, open(os.devnull, "wb") as output:  # noqa: PTH123
        enter = partial(surroundings.enter, "none", os.devnull, output.fileno())
        if not load_exercises:
            yield partial(_run_all, [enter, serve])
        for load_exercise in load_exercises:
            with load_exercise() as load_and_predict:
                yield partial(_run_all, [enter, serve, load_and_predict])


def _run_all(exercises: Iterable[Exercise]) -> None:
    for exercise in exercises:
        exercise()
