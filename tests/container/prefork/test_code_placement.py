"""Functions whose code is copied work as before; the warm-up runs what a load runs, or each worker would pay for it."""

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType

import joblib
import pytest
from sklearn.linear_model import LogisticRegression

from polyhost.container.config import Config
from polyhost.container.prefork import code_placement
from polyhost.container.prefork.warm_up import worker_exercise
from polyhost.container.worker.model import Model, ModelSpec
from polyhost.container.worker.types import Request
from polyhost.handlers import lookup, service, warm_up

_OWN = "/polyhost/"


def counter(start: int, step: int = 2) -> Callable[[], list[int]]:
    def counted() -> list[int]:
        return [start + number * step for number in range(3)]

    return counted


def unused() -> str:
    return "unused"


def test_functions_work_as_before_with_copies_of_their_code() -> None:
    one, other = counter(1), counter(2)
    codes = code_placement.executed_by(lambda: (counter(0), one()))
    functions = [found for found in (counter, one, other, unused) if isinstance(found, FunctionType)]
    before = [function.__code__ for function in functions]

    code_placement.place(functions, codes)

    assert counter.__code__ is not before[0]
    assert one.__code__ is not before[1]
    assert one.__code__ is other.__code__
    assert one.__code__ in counter.__code__.co_consts
    assert unused.__code__ is before[3]
    assert (one(), other(), counter(3, step=1)(), unused()) == ([1, 3, 5], [2, 4, 6], [3, 4, 5], "unused")


def test_only_polyhosts_own_functions_are_found() -> None:
    codes = code_placement.executed_by(lambda: (lookup.module_roots(Path()), counter(0), Path("a").with_suffix(".b")))

    assert code_placement.own_functions(codes) == [lookup.module_roots]


def test_functions_of_classes_and_decorators_are_found_too() -> None:
    with worker_exercise(Config.from_environ({})) as exercise:
        codes = code_placement.executed_by(exercise)
    # Not isinstance(): it asks each object for its __class__, and some of torch's warn of being deprecated.
    functions = (found for found in gc.get_objects() if type(found) is FunctionType and id(found.__code__) in codes)
    expected = {f"{found.__module__}.{found.__qualname__}" for found in functions}

    found = {f"{function.__module__}.{function.__qualname__}" for function in code_placement.own_functions(codes)}

    assert found == {name for name in expected if name.startswith("polyhost.")}
    assert "polyhost.container.worker.process.Worker.run" in found
    assert "polyhost.container.worker.process._limited_memory" in found  # a context manager


def test_the_warm_up_runs_all_code_that_a_load_and_a_prediction_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_service", service.Service())
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("SAGEMAKER_MULTI_MODEL", "true")
    directory = tmp_path / "model"
    directory.mkdir()
    joblib.dump(LogisticRegression().fit([[0.0, 1.0], [1.0, 0.0]], [0, 1]), directory / "model.joblib")
    headers = {"Content-Type": "application/json", "Accept": "*/*"}

    def warm() -> None:
        warm_up.sklearn()
        with worker_exercise(Config.from_environ({})) as exercise:
            exercise()

    def load_and_predict() -> None:
        (response,) = Model.load(ModelSpec("m", directory)).predict([Request("id", headers, {"body": b"[[1, 2]]"})])
        assert response.status == 200, response.body

    warmed = set(code_placement.executed_by(warm).values())
    run = set(code_placement.executed_by(load_and_predict).values())

    own = {code.co_qualname for code in run - warmed if _OWN in code.co_filename}
    assert own <= {"handle", "Service.takes_batches", "takes_batches", "_source", "_gpu"}
