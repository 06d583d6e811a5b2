"""InvokeEndpointWithResponseStream through boto3: the stream as botocore reads it, and what breaks it."""

import json
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError, EventStreamError

from tests.container_process import wait_for
from tests.emulator.archives import archive
from tests.emulator.conftest import REGION, Local

Hosted = Callable[..., str]


def _hosted(local: Local, hosted: Hosted, **settings: Any) -> str:
    return hosted(multi_model=False, settings=settings)


def _stream(local: Local, endpoint: str, **members: Any) -> dict[str, Any]:
    answer: dict[str, Any] = local.runtime.invoke_endpoint_with_response_stream(
        EndpointName=endpoint, **({"Body": b"?"} | members)
    )
    return answer


def _pieces(answer: dict[str, Any]) -> list[str]:
    with closing(answer["Body"]) as events:
        return [event["PayloadPart"]["Bytes"].decode() for event in events]


def test_pieces_come_as_the_container_sends_them(local: Local, hosted: Hosted) -> None:
    pieces = ["one ", "two ", "three"]
    endpoint = _hosted(local, hosted, pieces=pieces, piece_seconds=0.3)
    answer = _stream(local, endpoint, ContentType="text/csv", Accept="text/plain", CustomAttributes="trace=1")
    assert answer["ContentType"] == "text/plain"
    assert answer["CustomAttributes"] == "trace=1"
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    came = []
    for event in answer["Body"]:
        came.append((event["PayloadPart"]["Bytes"].decode(), time.monotonic()))
    assert [piece for piece, _ in came] == pieces
    # The first piece is here while the container still makes the others.
    assert came[-1][1] - came[0][1] > 0.3


def test_an_answer_in_one_piece_is_a_stream_too(local: Local, hosted: Hosted) -> None:
    endpoint = _hosted(local, hosted)
    answer = _stream(local, endpoint, ContentType="text/csv", Accept="text/plain")
    seen = json.loads("".join(_pieces(answer)))
    assert answer["ContentType"] == "application/json"
    assert (seen["headers"]["content-type"], seen["headers"]["accept"]) == ("text/csv", "text/plain")
    assert not any(name.startswith("x-amzn-sagemaker-accept") for name in seen["headers"])


def test_errors_before_the_first_piece_are_those_of_every_call(local: Local, hosted: Hosted) -> None:
    endpoint = _hosted(local, hosted, status=400)
    with pytest.raises(ClientError) as caught:
        _stream(local, endpoint)
    response: Any = caught.value.response
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == ("ModelError", 424)
    assert response["OriginalStatusCode"] == 400
    for name, members, words in (
        ("nowhere", {}, "Endpoint nowhere of account 123456789012 not found."),
        (endpoint, {"TargetVariant": "other"}, "Variant other not found"),
        (endpoint, {"Body": b"x" * 6_291_457}, "less than or equal to 6291456"),
        (endpoint, {"TargetContainerHostname": "h"}, "does not support TargetContainerHostname"),
    ):
        with pytest.raises(ClientError) as caught:
            _stream(local, name, **members)
        assert caught.value.response["Error"]["Code"] == "ValidationError"
        assert words in caught.value.response["Error"]["Message"]


def test_a_stream_that_breaks_says_so(local: Local, hosted: Hosted) -> None:
    endpoint = _hosted(local, hosted, pieces=["one", None])
    came = []
    with closing(_stream(local, endpoint)["Body"]) as events, pytest.raises(EventStreamError) as caught:
        for event in events:
            came.append(event["PayloadPart"]["Bytes"])
    assert came == [b"one"]
    assert caught.value.response["Error"]["Code"] == "ModelStreamError"
    assert "/invocations" in caught.value.response["Error"]["Message"]


def test_a_pause_that_is_too_long_breaks_it(hasty: Local) -> None:
    hasty.s3.put_object(
        Bucket="models", Key="paused/model.tar.gz", Body=archive("p", pieces=["1", "2"], piece_seconds=9)
    )
    hasty.host("paused", multi_model=False)
    with pytest.raises(EventStreamError) as caught:
        _pieces(_stream(hasty, "paused"))
    assert "was not answered within" in caught.value.response["Error"]["Message"]


def test_who_hangs_up_ends_the_call(local: Local, hosted: Hosted) -> None:
    endpoint = _hosted(local, hosted, pieces=["one"] * 1000, piece_seconds=0.05)
    url = f"{local.emulator.url}/endpoints/{endpoint}/invocations-response-stream"
    scope = f"x/20260101/{REGION}/sagemaker/aws4_request"
    headers = {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}
    with httpx.stream("POST", url, content=b"?", headers=headers, trust_env=False) as response:
        assert response.headers["content-type"] == "application/vnd.amazon.eventstream"
        pieces = response.iter_raw()
        assert b"one" in next(pieces)
        assert _in_flight(local, endpoint) == 1
    wait_for(lambda: _in_flight(local, endpoint) == 0, "the call to end")


def test_a_model_of_many_streams_where_the_header_names_it(local: Local, hosted: Hosted) -> None:
    """The operation has no TargetModel; a multi-model endpoint says what is missing, as for every call."""
    endpoint = hosted("a")
    local.s3.put_object(Bucket="models", Key=f"{endpoint}/s.tar.gz", Body=archive("s", pieces=["x", "y"]))
    with pytest.raises(ClientError, match="is missing a target model header"):
        _stream(local, endpoint)

    def name_it(params: dict[str, Any], **_: Any) -> None:
        params["headers"]["X-Amzn-SageMaker-Target-Model"] = "s.tar.gz"

    event = "before-call.sagemaker-runtime.InvokeEndpointWithResponseStream"
    local.runtime.meta.events.register(event, name_it)
    try:
        assert "".join(_pieces(_stream(local, endpoint))) == "xy"
    finally:
        local.runtime.meta.events.unregister(event, name_it)


def test_asynchronous_calls_are_refused_by_name(local: Local) -> None:
    with pytest.raises(ClientError) as caught:
        local.runtime.invoke_endpoint_async(EndpointName="e", InputLocation="s3://b/k")
    assert caught.value.response["Error"] == {
        "Code": "ValidationError",
        "Message": "The emulator does not support InvokeEndpointAsync; use InvokeEndpoint for e.",
    }


def _in_flight(local: Local, endpoint: str) -> int:
    state = httpx.get(f"{local.emulator.url}/_polyhost/state", trust_env=False).json()
    (found,) = [item for item in state["endpoints"] if item["name"] == endpoint]
    return int(found["variants"][0]["instances"][0]["outstanding"])
