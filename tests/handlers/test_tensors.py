from __future__ import annotations

from typing import Any

import numpy
import pytest

from handlers.errors import BadBodyError, WrongShapeError
from handlers.inputs import Rows
from handlers.shapes import InputShape
from handlers.tensors import fill, numbers

IMAGE = InputShape("image", (1, 1, 2, 3))
SIZE = InputShape("size", (1, 1), "int64")


@pytest.mark.parametrize(
    "values",
    [
        [[[[1, 2, 3], [4, 5, 6]]]],
        [[[1, 2, 3], [4, 5, 6]]],
        [[1, 2, 3], [4, 5, 6]],
        [[1, 2, 3, 4, 5, 6]],
        [1, 2, 3, 4, 5, 6],
    ],
)
def test_one_row_in_any_form(values: Any) -> None:
    array = fill(Rows(values), [IMAGE])["image"]
    assert array.shape == (1, 1, 2, 3)
    assert array.ravel().tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("shape", [(4, 1, 2, 3), (4, 2, 3), (4, 6)])
def test_several_rows(shape: tuple[int, ...]) -> None:
    assert fill(Rows(numpy.ones(shape)), [IMAGE])["image"].shape == (4, 1, 2, 3)


@pytest.mark.parametrize("shape", [(), (5,), (2, 5), (1, 1, 3, 2), (3, 2)])
def test_shapes_that_do_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(WrongShapeError) as raised:
        fill(Rows(numpy.ones(shape)), [IMAGE])
    assert str(raised.value).endswith(f"expected [n, 1, 2, 3] or n rows of 6 values, given {list(shape)}.")


def test_inputs_by_name() -> None:
    rows = Rows([[3, [[1, 2, 3], [4, 5, 6]]], [4, [1, 2, 3, 4, 5, 6][:3] * 2]][:1], ("size", "image"))
    arrays = fill(rows, [IMAGE, SIZE])
    assert {name: array.shape for name, array in arrays.items()} == {"image": (1, 1, 2, 3), "size": (1, 1)}
    assert arrays["size"].dtype == numpy.int64


def test_inputs_of_unlike_lengths() -> None:
    rows = Rows([[[1, 2], [1, 2]]], ("a", "b"))
    shapes = [InputShape("a", (1, 2)), InputShape("b", (1, 1))]
    with pytest.raises(WrongShapeError, match=r"given \[1, 2\]"):
        fill(rows, shapes)


@pytest.mark.parametrize(
    ("values", "text"),
    [([[1], [1, 2]], "row 1 has 2 values"), ([["a"]], "could not convert"), ([[10**400]], "not a number")],
)
def test_not_numbers(values: Any, text: str) -> None:
    with pytest.raises(BadBodyError, match=text):
        numbers(values)
