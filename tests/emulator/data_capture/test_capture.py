"""Lines of JSON of captured invocations."""

import base64
import json

import pytest

from polyhost.emulator.data_capture.capture import CapturedBody, CapturedInvocation, to_line
from polyhost.emulator.hosting.capture_settings import CaptureSettings
from polyhost.emulator.telemetry.recorder import Place

SETTINGS = CaptureSettings("s3://b/p", 100, csv_types=("text/csv",), json_types=("application/json",))
PLACE = Place("eu-west-1", "endpoint", "variant")


def capture(request: CapturedBody | None, response: CapturedBody | None = None, **members: str) -> CapturedInvocation:
    return CapturedInvocation(PLACE, "an-id", 1_700_000_000.75, request, response, **members)


def test_a_line_has_both_ways_and_the_metadata() -> None:
    line = to_line(
        capture(
            CapturedBody(b"1,2\n", "text/csv"),
            CapturedBody(b'{"a": 1}', "application/json; charset=utf-8"),
            target_model="a.tar.gz",
            inference_id="mine",
            custom_attributes="k=v",
        ),
        SETTINGS,
    )
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert json.loads(line) == {
        "captureData": {
            "endpointInput": {
                "observedContentType": "text/csv",
                "mode": "INPUT",
                "data": "1,2\n",
                "encoding": "CSV",
            },
            "endpointOutput": {
                "observedContentType": "application/json; charset=utf-8",
                "mode": "OUTPUT",
                "data": '{"a": 1}',
                "encoding": "JSON",
            },
        },
        "eventMetadata": {
            "eventId": "an-id",
            "inferenceId": "mine",
            "customAttributes": ["k=v"],
            "targetModel": "a.tar.gz",
            "inferenceTime": "2023-11-14T22:13:20Z",
        },
        "eventVersion": "0",
    }


def test_what_is_not_known_or_not_captured_is_left_out() -> None:
    line = json.loads(to_line(capture(None, CapturedBody(b"x", "text/csv")), SETTINGS))
    assert list(line["captureData"]) == ["endpointOutput"]
    assert sorted(line["eventMetadata"]) == ["eventId", "inferenceTime"]


@pytest.mark.parametrize(
    ("content", "content_type", "encoding"),
    [
        (b"1,2", "text/csv", "CSV"),
        (b"1,2", "Text/CSV ;header=absent", "CSV"),
        (b"[]", "application/json", "JSON"),
        (b"[]", "application/jsonlines", "BASE64"),
        (b"\xff\xfe", "text/csv", "BASE64"),
        (b"", "application/x-npy", "BASE64"),
    ],
)
def test_the_content_type_decides_the_encoding(content: bytes, content_type: str, encoding: str) -> None:
    data = json.loads(to_line(capture(CapturedBody(content, content_type)), SETTINGS))["captureData"]["endpointInput"]
    assert data["encoding"] == encoding
    text: str = data["data"]
    assert (base64.b64decode(text) if encoding == "BASE64" else text.encode()) == content


def test_without_types_everything_is_base64() -> None:
    settings = CaptureSettings("s3://b/p", 100)
    data = json.loads(to_line(capture(CapturedBody(b"[]", "application/json")), settings))["captureData"]
    assert data["endpointInput"]["encoding"] == "BASE64"


def test_a_shortened_payload_says_so() -> None:
    assert CapturedBody(b"abcd", "text/csv").shortened(4) == CapturedBody(b"abcd", "text/csv")
    assert CapturedBody(b"abcde", "text/csv").shortened(4) == CapturedBody(b"abcd", "text/csv", whole=False)
