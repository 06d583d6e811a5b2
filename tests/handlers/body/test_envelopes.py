import json
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyhost.handlers.body.decoders import decode
from polyhost.handlers.body.envelopes import UNDERSTOOD, rows_from, rows_from_lines
from polyhost.handlers.body.payload import ANYTHING, Expected, Rows
from polyhost.handlers.errors import BadBodyError

TABLE = Expected(table=True)
ROWS = Rows([[1, 2], [3, 4]])
NAMED = Rows([[1, 2], [3, 4]], ("a", "b"))
X = {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}


@pytest.mark.parametrize("expected", [ANYTHING, TABLE])
@pytest.mark.parametrize(
    "body",
    [
        [[1, 2], [3, 4]],
        {"instances": [[1, 2], [3, 4]]},
        {"instances": [[1, 2], [3, 4]], "signature_name": "serving_default", "anything": 1},
        {"instances": [{"features": [1, 2]}, {"features": [3, 4]}]},
        {"instances": [{"features": [1, 2]}, {"data": {"features": {"values": [3, 4]}}}]},
        {"instances": [{"data": {"features": {"keys": [1, 0], "shape": [2], "values": [2, 1]}}}, {"features": [3, 4]}]},
        [{"features": [1, 2]}, {"features": [3, 4]}],
        {"inputs": [[1, 2], [3, 4]]},
        {"inputs": [[1, 2], [3, 4]], "parameters": {"top_k": 2}},
        {"data": [[1, 2], [3, 4]]},
        {"data": {"ndarray": [[1, 2], [3, 4]]}},
        {"data": {"ndarray": [[1, 2], [3, 4]], "names": []}, "meta": {}},
        {"data": {"features": [[1, 2], [3, 4]]}},
        {"ndarray": [[1, 2], [3, 4]]},
        {"features": [[1, 2], [3, 4]]},
        {"columns": [0, 1], "index": [0, 1], "data": [[1, 2], [3, 4]]},
        {"dataframe_split": {"columns": [0, 1], "data": [[1, 2], [3, 4]]}},
    ],
)
def test_rows_in_envelopes(body: Any, expected: Expected) -> None:
    assert rows_from(body, expected) == ROWS


@pytest.mark.parametrize("expected", [ANYTHING, TABLE])
@pytest.mark.parametrize(
    "body",
    [
        [{"a": 1, "b": 2}, {"b": 4, "a": 3}],
        {"instances": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]},
        {"inputs": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]},
        {"inputs": {"a": [1, 3], "b": [2, 4]}},
        {"data": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]},
        {"data": {"names": ["a", "b"], "ndarray": [[1, 2], [3, 4]]}},
        {"names": ["a", "b"], "ndarray": [[1, 2], [3, 4]]},
        {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]},
        {"columns": ["a", "b"], "index": [7, 9], "data": [[1, 2], [3, 4]]},
        {"dataframe_split": {"columns": ["a", "b"], "index": [0, 1], "data": [[1, 2], [3, 4]]}, "params": {}},
        {"dataframe_records": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]},
    ],
)
def test_names_in_envelopes(body: Any, expected: Expected) -> None:
    assert rows_from(body, expected) == NAMED


@pytest.mark.parametrize(
    "body",
    [
        {"a": [1, 3], "b": [2, 4]},
        {"a": {"0": 1, "1": 3}, "b": {"0": 2, "1": 4}},
        {"0": {"a": 1, "b": 2}, "1": {"a": 3, "b": 4}},
        {"data": {"a": [1, 3], "b": [2, 4]}},
    ],
)
def test_columns_of_a_table(body: Any) -> None:
    """A table's values are plain, so a list under a name is a column. A network's are not: there it is one row."""
    assert rows_from(body, TABLE) == NAMED


def test_object_of_lists_is_one_row_of_a_network() -> None:
    assert rows_from({"a": [1, 3], "b": [2, 4]}) == Rows([[[1, 3], [2, 4]]], ("a", "b"), single=True)


@pytest.mark.parametrize(
    "body",
    [
        {"data": 0.5, "inputs": 1},
        {"instances": 3, "features": 4},
        {"inputs": "red"},
        {"data": None, "columns": "x"},
        {"ndarray": 1, "tensor": 2},
    ],
)
def test_plain_values_are_features_whatever_their_names(body: dict[str, Any]) -> None:
    assert rows_from(body, TABLE) == Rows([list(body.values())], tuple(body), single=True)


@pytest.mark.parametrize("name", ["instances", "inputs", "data", "features", "ndarray"])
def test_a_models_own_input_is_no_envelope(name: str) -> None:
    body = {name: [1, 2], "other": [3, 4]}
    row = Rows([[[1, 2], [3, 4]]], (name, "other"), single=True)
    assert rows_from(body, Expected(names=(name, "other"))) == row
    records = Rows([[[1, 2]], [[3, 4]]], (name,))
    assert rows_from([{name: [1, 2]}, {name: [3, 4]}], Expected(names=(name,))) == records


def test_one_row_in_an_envelope() -> None:
    assert (
        rows_from({"inputs": [1, 2]}) == rows_from({"features": [1, 2]}) == rows_from({"data": [1, 2]}) == Rows([1, 2])
    )
    assert rows_from({"data": {"features": {"values": [1, 2]}}}) == Rows([[1, 2]])
    assert rows_from({"inputs": {"a": 1, "b": 2}}) == Rows([[1, 2]], ("a", "b"), single=True)
    assert rows_from({"data": {"a": 1, "b": 2}}) == Rows([[1, 2]], ("a", "b"), single=True)


def test_texts() -> None:
    text = Expected(table=True, text=True)
    assert rows_from("good", text) == rows_from({"inputs": ["good"]}, text) == Rows(["good"])
    assert rows_from({"instances": ["good", "bad"]}, text) == Rows(["good", "bad"])
    assert rows_from({"inputs": "good"}, text) == Rows([["good"]], ("inputs",), single=True)
    beside: list[dict[str, Any]] = [{"parameters": {"top_k": 1}}, {"id": 7}, {"meta": {}, "params": []}]
    for options in beside:
        assert rows_from({"inputs": "good", **options}, text) == rows_from({"inputs": "good"}, text)
        assert rows_from({"text": "good", **options}, text) == rows_from({"text": "good"}, text)
    two = {"question": "good", "context": "bad"}  # no option: it is text
    assert rows_from(two, text) == Rows([["good", "bad"]], ("question", "context"), single=True)
    with pytest.raises(BadBodyError, match="given a string"):
        rows_from("good", TABLE)


def test_records() -> None:
    records = Expected(table=True, records=True)
    assert rows_from([{"a": 1}, {"b": 2}], records) == Rows([{"a": 1}, {"b": 2}])
    assert rows_from({"a": 1, "b": [1]}, records) == Rows([{"a": 1, "b": [1]}], single=True)


@pytest.mark.parametrize(
    ("lines", "rows"),
    [
        ([[1, 2], [3, 4]], ROWS),
        ([{"features": [1, 2]}, {"features": [3, 4]}], ROWS),
        ([{"data": {"features": {"values": [1, 2]}}}, {"features": [3, 4]}], ROWS),
        ([{"inputs": [1, 2]}, {"inputs": [3, 4]}], ROWS),
        ([{"instances": [[1, 2], [3, 4]]}], ROWS),
        ([{"a": 1, "b": 2}, {"a": 3, "b": 4}], NAMED),
        ([{"a": 1, "b": 2}], Rows([[1, 2]], ("a", "b"))),
    ],
)
def test_lines(lines: list[Any], rows: Rows) -> None:
    assert rows_from_lines(lines, TABLE) == rows
    assert decode("\n".join(map(json.dumps, lines)).encode(), "application/jsonlines", TABLE) == rows


def test_tensors() -> None:
    rows = rows_from({"id": "7", "inputs": [X], "outputs": [{"name": "y"}]})
    assert rows.names is None and rows.values.dtype == numpy.float32 and rows.values.tolist() == [[1, 2], [3, 4]]
    seldon = rows_from({"data": {"names": ["a", "b"], "tensor": {"shape": [2, 2], "values": [1, 2, 3, 4]}}}, TABLE)
    assert seldon == NAMED


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"a": [1, 2], "b": [3]}, "different numbers of values: {'a': 2, 'b': 1}"),
        ({"a": {"x": 1}, "b": 2}, "the value of 'a' is an object"),
        ({"foo": {"bar": [1]}, "x": 1}, "the value of 'foo' is an object"),
        ({"a": {"x": 1}}, "neither rows nor columns"),
        ({"instances": []}, "given an empty list"),
        ({"instances": {"a": {}}, "x": 1}, "is an object"),
        ({"inputs": [[1]], "what": 1}, "the value of 'inputs' is a list"),
        (
            {"data": {"names": ["a"], "ndarray": [[1, 2]]}},
            "row 0 does not have one value for each of the columns ['a']",
        ),
        ({"names": 7, "ndarray": [[1, 2]]}, "must be a list of strings"),
        ({"columns": ["a", "b"], "data": [[1]]}, "row 0 does not have one value for each"),
        ({"dataframe_split": {"columns": ["a"]}}, "must hold"),
        ({"dataframe_split": {"data": []}}, "must hold"),
        ({"dataframe_records": [[1]]}, "must hold a list of objects"),
        ([{"features": [1]}, {"a": 1}], "row 1 is not like row 0"),
        ({"tensor": {"shape": [3], "values": [1]}}, "for 3 values, and 1 values"),
        ({"data": {"features": {"keys": [5], "shape": [2], "values": [1]}}}, "must be places below 2"),
        ({"data": {"features": {"keys": [0], "shape": [10**12], "values": [1]}}}, "at most 1000000"),
    ],
)
def test_what_is_not_certain_is_rejected(body: Any, text: str) -> None:
    with pytest.raises(BadBodyError) as raised:
        rows_from(body, TABLE)
    assert text in str(raised.value)


@pytest.mark.parametrize(
    "body", [{"foo": {"bar": [1]}}, {"inputs": {}}, {"data": {"x": {"y": {"z": 1}}}}, 3, None, "x"]
)
def test_the_error_lists_what_is_understood(body: Any) -> None:
    with pytest.raises(BadBodyError) as raised:
        rows_from(body, TABLE)
    assert UNDERSTOOD in str(raised.value)


KEYS = st.sampled_from(
    ["instances", "inputs", "data", "features", "ndarray", "names", "columns", "index", "tensor", "shape", "values",
     "keys", "datatype", "name", "dataframe_split", "dataframe_records", "a", "b", "0", "1", "id"]
)  # fmt: skip
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "a", "FP32", "BYTES", "INT8"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)
EXPECTED = st.builds(
    Expected,
    names=st.lists(KEYS, max_size=2).map(tuple),
    table=st.booleans(),
    text=st.booleans(),
    records=st.booleans(),
)


@given(JSON_VALUES, EXPECTED)
def test_no_shape_causes_more_than_a_400(value: Any, expected: Expected) -> None:
    try:
        rows = rows_from(value, expected)
    except BadBodyError:
        return
    assert len(rows.values) > 0
    if rows.names is not None:
        assert all(len(row) == len(rows.names) for row in rows.values)


@given(st.dictionaries(KEYS, st.none() | st.booleans() | st.integers() | st.text(max_size=3), min_size=1))
def test_plain_features_are_never_an_envelope(value: dict[str, Any]) -> None:
    assert rows_from(value, TABLE) == Rows([list(value.values())], tuple(value), single=True)


@given(st.dictionaries(KEYS, JSON_VALUES, min_size=1))
def test_known_features_are_never_an_envelope(value: dict[str, Any]) -> None:
    simple = {name: item for name, item in value.items() if not isinstance(item, dict)}
    if simple:
        rows = rows_from(simple, Expected(names=tuple(simple)))
        assert rows == Rows([list(simple.values())], tuple(simple), single=True) or "nan" in repr(simple)


@pytest.mark.parametrize("key", ["instances", "inputs", "data", "features"])
@pytest.mark.parametrize("inner", [[1], {"a": 1}])
def test_envelopes_are_not_opened_again_and_again(key: str, inner: Any) -> None:
    value = inner
    for _ in range(900):
        value = {key: value}
    with pytest.raises(BadBodyError):
        rows_from(value, TABLE)
