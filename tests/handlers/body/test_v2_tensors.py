from typing import Any

import numpy
import pytest

from polyhost.handlers.body.payload import ANYTHING, Expected
from polyhost.handlers.body.v2_tensors import rows_from
from polyhost.handlers.errors import BadBodyError


def tensor(name: str, shape: list[Any], datatype: str, data: Any, **others: Any) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data, **others}


@pytest.mark.parametrize(
    ("datatype", "data", "dtype"),
    [
        ("BOOL", [True, False], "bool"),
        ("BOOL", [1, 0], "bool"),
        ("INT8", [-128, 127], "int8"),
        ("UINT8", [0, 255], "uint8"),
        ("INT64", [-(2**63), 2**63 - 1], "int64"),
        ("UINT64", [0, 2**64 - 1], "uint64"),
        ("FP16", [0.5, 2], "float16"),
        ("FP32", [0.5, None], "float32"),
        ("FP64", [[0.5], [2]], "float64"),
    ],
)
def test_datatypes(datatype: str, data: list[Any], dtype: str) -> None:
    rows = rows_from([tensor("x", [2, 1], datatype, data)], ANYTHING)
    assert rows.values.dtype == dtype and rows.values.shape == (2, 1)
    flat = [value[0] if isinstance(value, list) else value for value in data]
    assert [value == value and value for [value] in rows.values.tolist()] == [
        value is not None and value for value in flat
    ]


def test_texts() -> None:
    assert rows_from([tensor("x", [2], "BYTES", ["good", "bad"])], ANYTHING).values == ["good", "bad"]
    assert rows_from([tensor("x", [2, 1], "BYTES", [["good"], ["bad"]])], ANYTHING).values == [["good"], ["bad"]]


def test_columns_of_a_table() -> None:
    given = [tensor("age", [2], "INT32", [41, 7]), tensor("colour", [2, 1], "BYTES", ["red", "blue"])]
    rows = rows_from(given, Expected(table=True))
    assert (rows.values, rows.names) == ([[41, "red"], [7, "blue"]], ("age", "colour"))


def test_inputs_of_a_network() -> None:
    given = [tensor("image", [2, 2, 2], "FP32", list(range(8))), tensor("mask", [2, 2], "FP32", [1, 0, 0, 1])]
    rows = rows_from(given, Expected(names=("image", "mask")))
    assert rows.names == ("image", "mask")
    assert [[value.tolist() for value in row] for row in rows.values] == [
        [[[0, 1], [2, 3]], [1, 0]],
        [[[4, 5], [6, 7]], [0, 1]],
    ]


def test_one_tensor_by_the_name_of_an_input() -> None:
    rows = rows_from([tensor("age", [2], "FP32", [1, 2])], Expected(names=("age",), table=True))
    assert (rows.values, rows.names) == ([[1], [2]], ("age",))


@pytest.mark.parametrize(
    ("tensors", "text"),
    [
        ([tensor("x", [2, 2], "FP32", [1, 2, 3])], "the input 'x' has the shape [2, 2], for 4 values, and 3 values"),
        ([tensor("x", [0, 2], "FP32", [])], "the input 'x' has the shape [0, 2]"),
        ([tensor("x", [-1, 2], "FP32", [1, 2])], "whole numbers above 0"),
        ([tensor("x", [True], "FP32", [1])], "whole numbers above 0"),
        ([tensor("x", [1] * 40, "FP32", [1])], "whole numbers above 0"),
        ([tensor("x", [], "FP32", [1])], "the input 'x' has the shape []"),
        ([tensor("x", [1], "FLOAT", [1])], "the input 'x' has the datatype 'FLOAT'; known are BOOL"),
        ([tensor("x", [1], "INT8", [128])], "the input 'x' is INT8, which cannot hold value 0: '128'"),
        ([tensor("x", [1], "INT64", [1.5])], "cannot hold value 0: '1.5'"),
        ([tensor("x", [1], "INT64", [True])], "cannot hold value 0: 'True'"),
        ([tensor("x", [2], "FP32", [1, "a"])], "cannot hold value 1: 'a'"),
        ([tensor("x", [1], "FP16", [1e6])], "cannot hold value 0"),
        ([tensor("x", [1], "FP64", [10**400])], "cannot hold value 0"),
        ([tensor("x", [1], "BOOL", [2])], "cannot hold value 0"),
        ([tensor("x", [1], "BYTES", [7])], "cannot hold value 0"),
        ([tensor("x", [1], "FP32", [{}])], "cannot hold value 0"),
        ([tensor("x", [1], "FP32", 7)], "the input 'x' must be an object"),
        ([{"name": "x", "shape": [1], "data": [1]}], "the input 'x' must be an object"),
        ([{"shape": [1], "datatype": "FP32", "data": [1]}], "the input number 0 must be an object"),
        ([tensor("x", [1], "FP32", [1]), 7], "the input number 1 must be an object"),
        ([tensor("x", [1], "FP32", [1]), tensor("x", [1], "FP32", [1])], "two inputs have the name 'x'"),
        (
            [tensor("x", [1], "FP32", [1]), tensor("y", [2], "FP32", [1, 2])],
            "different numbers of rows: {'x': 1, 'y': 2}",
        ),
        ([tensor("x", [1, 2], "FP32", [1, 2]), tensor("y", [1], "FP32", [1])], "the input 'x' has the shape [1, 2]"),
        (
            [{"name": "x", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}],
            "binary data is not read",
        ),
    ],
)
def test_errors_name_the_input(tensors: list[Any], text: str) -> None:
    with pytest.raises(BadBodyError) as raised:
        rows_from(tensors, Expected(table=True))
    assert text in str(raised.value)


def test_nesting_is_limited() -> None:
    data: Any = 1
    for _ in range(900):
        data = [data]
    with pytest.raises(BadBodyError, match="nested too deeply"):
        rows_from([tensor("x", [1], "FP32", data)], ANYTHING)


def test_a_table_takes_one_tensor_of_rows() -> None:
    rows = rows_from(
        [tensor("predict", [2, 3], "FP64", numpy.arange(6).tolist())], Expected(("a", "b", "c"), table=True)
    )
    assert (rows.values.tolist(), rows.names) == ([[0, 1, 2], [3, 4, 5]], None)
