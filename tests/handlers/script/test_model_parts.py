import functools
from typing import Any

import pytest

from polyhost.handlers.script import model_parts


class Holder:
    def __init__(self, held: Any) -> None:
        self.held = held

    def predict(self, rows: Any) -> Any:
        return self.held


def closure(held: Any) -> Any:
    return lambda rows: held


WAYS = [
    lambda model: model,
    lambda model: (model, {"a": 0}),
    lambda model: {"net": model},
    lambda model: [1, [model]],
    Holder,
    lambda model: Holder({"deep": (model,)}),
    lambda model: Holder(model).predict,
    closure,
    lambda model: functools.partial(print, model),
]


@pytest.mark.parametrize("way", WAYS)
def test_a_models_framework_is_found_in_whatever_holds_it(way: Any) -> None:
    sklearn = pytest.importorskip("sklearn.linear_model")
    assert model_parts.framework_of(way(sklearn.LinearRegression())) == "sklearn"
    torch = pytest.importorskip("torch")
    assert model_parts.framework_of(way(torch.nn.Linear(1, 1))) == "torch"


def test_the_heavier_framework_is_meant() -> None:
    """A network and the scaler before it: the script was written for PyTorch's image."""
    sklearn = pytest.importorskip("sklearn.preprocessing")
    torch = pytest.importorskip("torch")
    assert model_parts.framework_of((sklearn.StandardScaler(), torch.nn.Linear(1, 1))) == "torch"


@pytest.mark.parametrize("model", [None, 3, "text", len, {"a": [1]}, Holder(None), object(), print])
def test_models_of_no_framework(model: Any) -> None:
    assert model_parts.framework_of(model) is None


def test_tables_are_no_models() -> None:
    pandas = pytest.importorskip("pandas")
    torch = pytest.importorskip("torch")
    assert model_parts.framework_of(pandas.DataFrame()) is None
    assert model_parts.framework_of({"table": pandas.DataFrame(), "weights": torch.ones(1)}) == "torch"


def test_large_and_circular_models_are_looked_at_in_part() -> None:
    holder = Holder([[] for _ in range(100_000)])
    holder.held.append(holder)
    assert len(list(model_parts.parts(holder))) <= 1000
