"""Answers out of captures, and which of them agree."""

import json
from pathlib import Path
from typing import Any

import pytest

from polyhost.comparison.captured_answers import Answers, agreement, read_answers
from polyhost.comparison.errors import ComparisonError


def _line(request: str, answer: str, encoding: str = "JSON", **metadata: Any) -> str:
    data = {
        "endpointInput": {"observedContentType": "text/csv", "mode": "INPUT", "data": request, "encoding": "CSV"},
        "endpointOutput": {"observedContentType": "any", "mode": "OUTPUT", "data": answer, "encoding": encoding},
    }
    return json.dumps({"captureData": data, "eventMetadata": metadata, "eventVersion": "0"})


def _read(folder: Path, variant: str, *lines: str) -> Answers:
    place = folder / "demo" / variant / "2026" / "11" / "27" / "16"
    place.mkdir(parents=True)
    (place / "00-00-000-x.jsonl").write_text("\n".join(lines))
    return read_answers(None, str(folder), "demo", variant)


def test_answers_to_the_same_requests_are_compared(tmp_path: Path) -> None:
    one = _read(tmp_path, "A", _line("1", "[7]"), _line("2", "[8]"), _line("2", "[9]"), _line("3", "[1]"))
    other = _read(tmp_path, "B", _line("2", "[8]"), _line("2", "[0]"), _line("1", "[7]"), _line("4", "[1]"))
    assert agreement(one, other, 0) == (2, 3)


def test_identifiers_of_clients_tell_requests_apart(tmp_path: Path) -> None:
    one = _read(tmp_path, "A", _line("1", "[7]", inferenceId="x"), _line("1", "[8]", inferenceId="y"))
    other = _read(tmp_path, "B", _line("1", "[8]", inferenceId="y"), _line("1", "[7]", inferenceId="x"))
    assert agreement(one, other, 0) == (2, 2)


@pytest.mark.parametrize(
    ("one", "other", "encoding", "agrees"),
    [
        ("[0.30000000000000004]", "[0.3]", "JSON", True),
        ('{"a": [1.0, "x"]}', '{"a": [1, "x"]}', "JSON", True),
        ("[0.31]", "[0.3]", "JSON", False),
        ('{"a": 1}', '{"b": 1}', "JSON", False),
        ("[1]", "[1, 2]", "JSON", False),
        ("[true]", "[1]", "JSON", False),
        ("not json", "not json", "JSON", True),
        ("YQ==", "YQ==", "BASE64", True),
        ("YQ==", "Yg==", "BASE64", False),
    ],
)
def test_what_agrees(tmp_path: Path, one: str, other: str, encoding: str, agrees: bool) -> None:
    left, right = (_read(tmp_path, name, _line("1", text, encoding)) for name, text in (("A", one), ("B", other)))
    assert agreement(left, right, 1e-6) == (int(agrees), 1)


def test_a_line_without_a_request_or_an_answer_is_left_out(tmp_path: Path) -> None:
    line = json.loads(_line("1", "[7]"))
    del line["captureData"]["endpointInput"]
    assert _read(tmp_path, "A", json.dumps(line)) == {}


def test_what_is_no_capture_is_named(tmp_path: Path) -> None:
    with pytest.raises(ComparisonError, match=r"x\.jsonl, line 2, is no capture"):
        _read(tmp_path, "A", _line("1", "[7]"), '{"other": 1}')
    with pytest.raises(ComparisonError, match="is no folder of captures"):
        read_answers(None, str(tmp_path / "none"), "demo", "A")
