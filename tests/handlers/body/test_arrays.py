from typing import Any

import numpy
import pytest

from polyhost.handlers.body.arrays import WideTextError, guessed, holds_text, untyped


@pytest.mark.parametrize(
    "values",
    [["a"], [["a", 1]], [[1, None, "a"]], [[[1.5], ["a"]]], [1, [2, ["a"]]], [b"a"], (("a",),), [numpy.str_("a")]],
)
def test_finds_text(values: Any) -> None:
    assert holds_text(values)


@pytest.mark.parametrize("values", [[], [[]], [1], [[1, 2.5], [True, None]], [[{"a": "b"}]], [1, [2]], [numpy.ones(2)]])
def test_finds_no_text(values: Any) -> None:
    assert not holds_text(values)


@pytest.mark.parametrize("values", [[["a", 1]], [["a", 1.5], [None, True]], ["a", "b"], [[["a"]], [["b"]]]])
def test_text_makes_objects_which_are_unchanged(values: Any) -> None:
    array = untyped(values)
    assert array.dtype == object
    assert array.tolist() == values


@pytest.mark.parametrize(
    ("values", "dtype"), [([[1, 2]], "int64"), ([[1.5, 2]], "float64"), ([[True]], "bool"), ([[None, 1]], "object")]
)
def test_numbers_keep_the_type_that_numpy_chooses(values: Any, dtype: str) -> None:
    assert untyped(values).dtype == numpy.dtype(dtype)


@pytest.mark.parametrize("values", [[["a"], ["b", "c"]], ["a", ["b"]], [["a", ["b"]], ["c", "d"]], [[1], [1, 2]]])
def test_rows_of_unlike_lengths(values: Any) -> None:
    with pytest.raises(ValueError, match=r"alike|inhomogeneous"):
        untyped(values)


def test_deep_nesting() -> None:
    values: Any = "a"
    for _ in range(500):
        values = [values]
    with pytest.raises(ValueError):
        untyped(values)


def test_text_of_one_width_only_where_it_fits() -> None:
    assert guessed(["a", 1]).dtype.kind == guessed([["a"], ["bc"]]).dtype.kind == "U"
    with pytest.raises(WideTextError, match=r"20001 texts.*100000 characters"):
        guessed(["x"] * 20_000 + ["y" * 100_000])
