import re
from typing import Any

import numpy
import pytest
from PIL import Image

from polyhost.handlers.body.payload import Picture, Rows
from polyhost.handlers.errors import BadBodyError, UnsuitableMediaTypeError, WrongShapeError
from polyhost.handlers.shapes_file import InputShape
from polyhost.handlers.tensors import fill, numbers

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
def test_one_row_in_any_nesting(values: Any) -> None:
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
    assert str(raised.value).endswith(f"expected [n, 1, 2, 3] or n rows of 6 values, given {list(shape)}")


def test_inputs_by_name() -> None:
    rows = Rows([[3, [[1, 2, 3], [4, 5, 6]]], [4, [1, 2, 3, 4, 5, 6][:3] * 2]][:1], ("size", "image"))
    arrays = fill(rows, [IMAGE, SIZE])
    assert {name: array.shape for name, array in arrays.items()} == {"image": (1, 1, 2, 3), "size": (1, 1)}
    assert arrays["size"].dtype == numpy.int64


def test_inputs_of_different_lengths() -> None:
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


@pytest.mark.parametrize(
    ("values", "dtype", "value"),
    [
        ([[1.9]], "int64", "1.9"),
        ([[3, 300, -1]], "uint8", "300"),
        ([[0, -1]], "uint8", "-1"),
        ([[float("nan")]], "int32", "nan"),
        ([[float("inf")]], "int64", "inf"),
        ([[1 << 70]], "int64", "not a number"),
        ([[None]], "int64", "not a number"),
        (numpy.array([[200]], numpy.uint8), "int8", "200"),
        (numpy.array([[1 << 40]]), "int32", "1099511627776"),
        ([[1e300]], "float32", "1e"),
        ([[-1e300]], "float32", "-1e"),
        ([[70000]], "float16", "70000"),
        (numpy.array([[1 + 2j]]), "float32", "complex128"),
        (numpy.array([[1 + 2j]]), "int64", "complex128"),
        (numpy.array([["2024-02-29"]], "M8[D]"), "float32", "datetime64[D]"),
    ],
)
def test_numbers_that_the_type_cannot_hold(values: Any, dtype: str, value: str) -> None:
    with pytest.raises(BadBodyError, match=rf"{re.escape(value)}"):
        numbers(values, dtype)


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([[1.0, -2.0]], "int64", [[1, -2]]),
        ([[True, 0]], "uint8", [[1, 0]]),
        ([["3", 4]], "int64", [[3, 4]]),
        ([[0, 255]], "uint8", [[0, 255]]),
        ([[0.1]], "float16", [[0.0999755859375]]),
        ([[float("inf"), 1]], "float32", [[float("inf"), 1]]),
        ([[16777217]], "float32", [[16777216]]),
        (numpy.array([[1.5]], ">f8"), "float32", [[1.5]]),
    ],
)
def test_numbers_that_the_type_can_hold(values: Any, dtype: str, expected: Any) -> None:
    converted = numbers(values, dtype)
    assert (converted.dtype, converted.tolist()) == (numpy.dtype(dtype), expected)


def test_null_is_not_a_number() -> None:
    assert numpy.isnan(numbers([[None, 1]])).tolist() == [[True, False]]


def test_image_for_int8_is_rejected() -> None:
    """Above 127 it would wrap."""
    dark = Picture(Image.new("L", (3, 2), 100))
    assert fill(dark, [InputShape("image", (1, 1, 2, 3), "uint8")])["image"].tolist() == [[[[100] * 3] * 2]]
    with pytest.raises(UnsuitableMediaTypeError, match="int8"):
        fill(dark, [InputShape("image", (1, 1, 2, 3), "int8")])
