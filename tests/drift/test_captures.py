"""Rows of the lines of data capture."""

import base64

import pytest

from polyhost.drift.captures import Attributes, read_calls, rows_of_json
from polyhost.drift.errors import DriftError
from tests.drift.data import line


def test_rows_of_csv_and_what_is_known_of_the_call() -> None:
    given = line("1,a\n2,\n", "7\n8", targetModel="m.tar.gz", inferenceId="mine")
    (call,) = read_calls([given, b"\n"], "file")
    assert call.inputs == [["1", "a"], ["2", ""]]
    assert call.outputs == [["7"], ["8"]]
    assert (call.event_id, call.model, call.at) == ("mine", "m.tar.gz", 1_767_618_000.0)


def test_base64_is_read_by_its_content_type() -> None:
    body = base64.b64encode(b'{"a": {"b": [1, 2]}}').decode()
    (call,) = read_calls([line(body, encoding="BASE64", content_type="application/json; x=y")], "file")
    assert call.inputs == [{"a_b_0": 1, "a_b_1": 2}]
    assert call.outputs == []


@pytest.mark.parametrize(
    ("document", "expected", "rows"),
    [
        ([1, 2], None, [[1, 2]]),
        ([1, 2], 2, [[1], [2]]),
        ([[1, 2], [3, 4]], None, [[1, 2], [3, 4]]),
        ([{"a": 1}, {"a": 2}], None, [{"a": 1}, {"a": 2}]),
        ({"instances": [[1, 2]]}, None, [[1, 2]]),
        ({"predictions": [5, 6]}, 2, [[5], [6]]),
        ({"inputs": [1], "other": 2}, None, [{"inputs_0": 1, "other": 2}]),
        (7, 1, [[7]]),
    ],
)
def test_rows_of_json(document: object, expected: int | None, rows: object) -> None:
    assert rows_of_json(document, expected) == rows


def test_attributes_choose_a_part() -> None:
    attributes = Attributes(features="$.x", inference="y.label")
    given = line('{"x": [1, 2], "id": 9}', '{"y": {"label": 3, "p": 0.5}}', "JSON", "application/json")
    (call,) = read_calls([given], "file", attributes)
    assert (call.inputs, call.outputs) == ([[1, 2]], [[3]])
    (call,) = read_calls([line("1,2", "0.3,cat")], "file", Attributes(inference="1"))
    assert call.outputs == [["cat"]]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (b"{", "line 1 of file is not a captured invocation"),
        (b'{"captureData": {}}', "KeyError"),
        (line("AAAA", encoding="BASE64", content_type="application/x-npy"), "name it in CaptureContentTypeHeader"),
        (line("!", encoding="BASE64"), "the data is not base64"),
        (line("[1", encoding="JSON"), "line 1 of file"),
        (line("1", inferenceTime="yesterday"), "yesterday"),
    ],
)
def test_what_is_no_capture_is_named(given: bytes, reason: str) -> None:
    with pytest.raises(DriftError, match=reason):
        list(read_calls([given], "file"))


@pytest.mark.parametrize(("attribute", "reason"), [("[", "is not a JMESPath"), ("b", "finds nothing")])
def test_attributes_that_find_nothing_are_named(attribute: str, reason: str) -> None:
    with pytest.raises(DriftError, match=reason):
        list(read_calls([line('{"a": 1}', encoding="JSON")], "file", Attributes(features=attribute)))
