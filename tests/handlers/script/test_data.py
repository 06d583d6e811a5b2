"""What a predict_fn gets where the script has no input_fn: arrays where the body is one, else what was sent, parsed."""

import json
from typing import Any

import numpy
import pytest

from tests.handlers.conftest import Archive
from tests.handlers.served import Served, npy, picture

# Answers with what predict_fn was given.
ECHO = """
def model_fn(model_dir):
    return "no framework's"
def predict_fn(data, model):
    return data
def output_fn(prediction, accept):
    import json, numpy
    if isinstance(prediction, numpy.ndarray):
        return json.dumps([prediction.dtype.kind, list(prediction.shape), str(prediction.tolist())]), "application/json"
    return json.dumps(prediction), "application/json"
"""


@pytest.fixture
def echo(archive: Archive) -> Served:
    return Served(archive(**{"inference.py": ECHO}))


@pytest.mark.parametrize(
    "sent",
    [
        {"instances": [[1, 2]], "parameters": {"top_k": 3}},
        {"instances": [[1, 2]]},
        {"inputs": "text", "parameters": {"max_length": 5}},
        [{"a": 1}, {"a": 2, "b": 3}],
        [{"a": 1}, {}],
        {"a": [1, 2], "b": {"c": None}},
        {},
        "text",
        "",
        5,
        2.5,
        True,
        False,
        None,
        ["a", "b"],
        [["red", 1.5], ["blue", 2]],
        [[1], [1, 2]],
        [None, None],
        [1, "a"],
        [[1, 2], 3],
        [2**70],
    ],
)
def test_json_that_is_no_array_is_given_as_it_was_sent(echo: Served, sent: Any) -> None:
    assert echo.post(json.dumps(sent)).json == sent


@pytest.mark.parametrize(
    ("sent", "kind", "shape"),
    [
        ([1, 2], "i", [2]),
        ([[1, 2.5], [3, 4]], "f", [2, 2]),
        ([[[1]], [[2]]], "i", [2, 1, 1]),
        ([[True, False]], "b", [1, 2]),
        ([[1, None]], "f", [1, 2]),
        ([], "f", [0]),
        ([[]], "f", [1, 0]),
    ],
)
def test_lists_of_numbers_are_arrays(echo: Served, sent: Any, kind: str, shape: list[int]) -> None:
    assert echo.post(json.dumps(sent)).json[:2] == [kind, shape]


def test_missing_numbers_are_nan(echo: Served) -> None:
    assert echo.post("[[1, null], [NaN, 4]]").json[2] == "[[1.0, nan], [nan, 4.0]]"


@pytest.mark.parametrize(
    ("lines", "given"),
    [
        ('{"a": 1}\n{"a": 2, "b": 3}\n', [{"a": 1}, {"a": 2, "b": 3}]),
        ('"text"\n5\nnull', ["text", 5, None]),
        ("[1, 2]\n\n[3, 4]\n", ["i", [2, 2], "[[1, 2], [3, 4]]"]),
    ],
)
def test_json_lines(echo: Served, lines: str, given: Any) -> None:
    assert echo.post(lines, "application/jsonlines").json == given


def test_other_types(echo: Served) -> None:
    assert echo.post("1,2\n3,4", "text/csv").json[:2] == ["f", [2, 2]]
    assert echo.post("1,2", "text/csv").json[:2] == ["f", [1, 2]]
    assert echo.post("a,b\n1,2", "text/csv").json == [{"a": 1, "b": 2}]
    assert echo.post("red,1\nblue,2", "text/csv").json == [["red", 1], ["blue", 2]]
    assert echo.post(npy(numpy.ones((2, 3), "i2")), "application/x-npy").json[:2] == ["i", [2, 3]]
    assert echo.post(picture(numpy.zeros((2, 3, 3))), "image/png").json[:2] == ["u", [2, 3, 3]]


@pytest.mark.parametrize(("body", "text"), [("", "the body is empty"), ("{", "is not JSON")])
def test_bodies_that_cannot_be_read_are_the_callers_fault(echo: Served, body: str, text: str) -> None:
    response = echo.post(body)
    assert (response.status, text in str(response.error), response.error.phase) == (400, True, "decode")


def test_a_batch_of_unlike_bodies(echo: Served) -> None:
    bodies = ['{"instances": [1], "parameters": {"k": 1}}', "[1]", '"x"', "{"]
    *good, bad = echo.post_all(*((body, {"Content-Type": "application/json"}) for body in bodies))
    assert [response.json for response in good] == [json.loads(bodies[0]), ["i", [1], "[1]"], "x"]
    assert bad.status == 400


def test_a_default_predict_still_takes_rows_only(archive: Archive) -> None:
    served = Served(archive(**{"inference.py": "def model_fn(model_dir):\n    return lambda rows: rows.sum()\n"}))
    assert served.post('{"instances": [[1, 2]], "parameters": {}}').json == 3
    assert served.post('"text"').status == 400
