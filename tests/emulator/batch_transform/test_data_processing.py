"""Filters and joins, as the developer guide describes them."""

import json
from typing import Any

import pytest

from polyhost.emulator.batch_transform.data_processing import DataProcessing
from polyhost.emulator.batch_transform.failures import TransformError
from polyhost.emulator.batch_transform.spec import Format, ProcessingSpec

CSV, JSON, LINES = Format.CSV, Format.JSON, Format.JSON_LINES


def processing(record_format: Format, by_line: bool = True, **members: Any) -> DataProcessing:
    return DataProcessing(ProcessingSpec(**members), record_format, by_line)


def test_an_id_column_is_kept_from_the_model_and_written_with_the_result() -> None:
    found = processing(CSV, input_filter="$[1:]", output_filter="$[0,-1]", join=True)
    assert found.prepare(b"id-1,2,3") == b"2,3"
    assert (
        found.combine([b"id-1,2,3", b"id-2,4,5"], b"0.5\n0.75\n", "text/csv; charset=utf-8") == b"id-1,0.5\nid-2,0.75"
    )


def test_cells_stay_as_they_were_written() -> None:
    found = processing(CSV, input_filter="$[1:]", join=True)
    assert found.prepare('"a, b",1e3,007,"say ""hi""",,예측\r'.encode()) == '1e3,007,"say ""hi""",,예측'.encode()
    assert found.combine([b'"a, b",1.0\r'], b'"x, y",2', None) == b'"a, b",1.0,"x, y",2'
    assert processing(CSV, input_filter="$[2]").prepare(b'1,2,"3,4"') == b'"3,4"'


def test_json_lines_are_joined_one_by_one() -> None:
    found = processing(LINES, input_filter="$.features", output_filter="$['id','SageMakerOutput']", join=True)
    records = [b'{"id": 1, "features": [1, 2]}', b'{"id": 2, "features": [3]}']
    assert [found.prepare(record) for record in records] == [b"[1, 2]", b"[3]"]
    joined = found.combine(records, b'{"label": "x"}\n{"label": "y"}\n', "application/jsonlines")
    assert [json.loads(line) for line in joined.splitlines()] == [
        {"id": 1, "SageMakerOutput": {"label": "x"}},
        {"id": 2, "SageMakerOutput": {"label": "y"}},
    ]


def test_json_lines_of_an_object_that_is_not_split() -> None:
    found = processing(LINES, by_line=False, input_filter="$.a", join=True)
    assert found.prepare(b'{"a": 1}\n{"a": 2}\n') == b"1\n2"
    joined = found.combine([b'{"a": 1}\n{"a": 2}\n'], b"3\n4\n", None)
    assert joined == b'{"a": 1, "SageMakerOutput": 3}\n{"a": 2, "SageMakerOutput": 4}'


def test_json_objects_are_joined_as_a_whole() -> None:
    found = processing(JSON, by_line=False, join=True)
    assert json.loads(found.combine([b'{\n"key": 1}'], b'{"label": 1}', None)) == {
        "key": 1,
        "SageMakerOutput": {"label": 1},
    }
    assert json.loads(found.combine([b"[1, 2]"], b"3", None)) == {"SageMakerInput": [1, 2], "SageMakerOutput": 3}
    overwritten = found.combine([b'{"SageMakerOutput": 0}'], b"3", None)
    assert json.loads(overwritten) == {"SageMakerOutput": 3}


def test_an_output_filter_alone_selects_from_the_response() -> None:
    assert processing(CSV, output_filter="$[0]").combine([b"1", b"2"], b"a,b\nc,d\n", None) == b"a\nc"
    assert processing(LINES, output_filter="$.label").combine([b"{}"], b'{"label": "x", "p": 1}', None) == b'"x"'


@pytest.mark.parametrize(
    ("found", "originals", "response", "content_type", "words"),
    [
        (processing(CSV, join=True), [b"1", b"2"], b"a\n", None, "responded with 1 records to 2; it must respond"),
        (processing(CSV, join=True), [b"1"], b"a\nb", None, "responded with 2 records to 1"),
        (processing(CSV, join=True), [b"1"], b"", None, "responded with 0 records to 1"),
        (
            processing(CSV, join=True),
            [b"1"],
            b"[[1]]",
            "application/json",
            "with application/json where Accept is text/csv",
        ),
        (
            processing(JSON, False, join=True),
            [b"1"],
            b"1",
            "text/csv",
            "with text/csv where Accept is application/json",
        ),
        (processing(JSON, False, join=True), [b"1"], b"oops", None, "Unable to parse data as application/json: "),
        (processing(LINES, join=True), [b"{"], b"1", None, "Unable to parse data as application/jsonlines: "),
        (processing(CSV, join=True), [b"1"], b"\xff", None, "Unable to parse data as text/csv: "),
        (processing(CSV, join=True), [b'"1'], b"2", None, "Unable to parse data as text/csv: "),
        (processing(CSV, output_filter="$[5]", join=True), [b"1"], b"2", None, "a record has nothing there"),
    ],
)
def test_what_cannot_be_joined_is_an_error(
    found: DataProcessing, originals: list[bytes], response: bytes, content_type: str | None, words: str
) -> None:
    with pytest.raises(TransformError) as caught:
        found.combine(originals, response, content_type)
    assert words in str(caught.value)


def test_csv_has_no_names() -> None:
    with pytest.raises(TransformError, match=r"Invalid JsonPath: \$\.id: records of text/csv have indexes"):
        processing(CSV, input_filter="$.id")
