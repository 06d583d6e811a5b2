"""InvokeEndpointWithResponseStream through boto3: the stream as botocore reads it, and its failures."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError, EventStreamError

from tests.emulator.archives import archive
from tests.emulator.conftest import REGION, Local
from tests.support.waiting import wait_for

Hosted = Callable[..., str]


def _host_single_model(local: Local, hosted: Hosted, **settings: Any) -> str:
    return hosted(multi_model=False, settings=settings)


def _stream(local: Local, endpoint: str, **members: Any) -> dict[str, Any]:
    response: dict[str, Any] = local.runtime.invoke_endpoint_with_response_stream(
        EndpointName=endpoint, **({"Body": b"?"} | members)
    )
    return response


def _chunks(response: dict[str, Any]) -> list[str]:
    with closing(response["Body"]) as events:
        return [event["PayloadPart"]["Bytes"].decode() for event in events]


def test_chunks_arrive_as_the_container_sends_them(local: Local, hosted: Hosted, tmp_path: Path) -> None:
    chunks = ["one ", "two ", "three"]
    endpoint = _host_single_model(local, hosted, chunks=chunks, chunk_marks=str(tmp_path))
    response = _stream(local, endpoint, ContentType="text/csv", Accept="text/plain", CustomAttributes="trace=1")
    assert response["ContentType"] == "text/plain"
    assert response["CustomAttributes"] == "trace=1"
    assert response["InvokedProductionVariant"] == "AllTraffic"
    received = []
    for event in response["Body"]:
        received.append(event["PayloadPart"]["Bytes"].decode())
        (tmp_path / str(len(received))).touch()  # for which the next chunk waits
    assert received == chunks


def test_unstreamed_response_becomes_an_event_stream(local: Local, hosted: Hosted) -> None:
    endpoint = _host_single_model(local, hosted)
    response = _stream(local, endpoint, ContentType="text/csv", Accept="text/plain")
    seen = json.loads("".join(_chunks(response)))
    assert response["ContentType"] == "application/json"
    assert (seen["headers"]["content-type"], seen["headers"]["accept"]) == ("text/csv", "text/plain")
    assert not any(name.startswith("x-amzn-sagemaker-accept") for name in seen["headers"])


def test_errors_before_the_first_chunk_are_those_of_invoke_endpoint(local: Local, hosted: Hosted) -> None:
    endpoint = _host_single_model(local, hosted, status=400)
    with pytest.raises(ClientError) as caught:
        _stream(local, endpoint)
    response: Any = caught.value.response
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == ("ModelError", 424)
    assert response["OriginalStatusCode"] == 400
    for name, members, words in (
        ("nowhere", {}, "Endpoint nowhere of account 123456789012 not found."),
        (endpoint, {"TargetVariant": "other"}, "Variant other not found"),
        (endpoint, {"Body": b"x" * 6_291_457}, "less than or equal to 6291456"),
        (endpoint, {"TargetContainerHostname": "h"}, "does not support target container hostname header"),
    ):
        with pytest.raises(ClientError) as caught:
            _stream(local, name, **members)
        assert caught.value.response["Error"]["Code"] == "ValidationError"
        assert words in caught.value.response["Error"]["Message"]


def test_broken_stream_ends_with_model_stream_error(local: Local, hosted: Hosted) -> None:
    endpoint = _host_single_model(local, hosted, chunks=["one", None])
    received = []
    with closing(_stream(local, endpoint)["Body"]) as events, pytest.raises(EventStreamError) as caught:
        for event in events:
            received.append(event["PayloadPart"]["Bytes"])
    assert received == [b"one"]
    assert caught.value.response["Error"]["Code"] == "ModelStreamError"
    assert "/invocations" in caught.value.response["Error"]["Message"]


def test_long_pause_ends_the_stream_with_model_stream_error(hasty: Local) -> None:
    hasty.s3.put_object(
        Bucket="models", Key="paused/model.tar.gz", Body=archive("p", chunks=["1", "2"], chunk_seconds=120)
    )
    hasty.host("paused", multi_model=False)
    with pytest.raises(EventStreamError) as caught:
        _chunks(_stream(hasty, "paused"))
    assert "was not answered within" in caught.value.response["Error"]["Message"]


def test_client_disconnect_ends_the_invocation(local: Local, hosted: Hosted) -> None:
    endpoint = _host_single_model(local, hosted, chunks=["one"] * 1000, chunk_seconds=0.05)
    url = f"{local.emulator.url}/endpoints/{endpoint}/invocations-response-stream"
    scope = f"x/20260101/{REGION}/sagemaker/aws4_request"
    headers = {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}
    with httpx.stream("POST", url, content=b"?", headers=headers, trust_env=False) as response:
        assert response.headers["content-type"] == "application/vnd.amazon.eventstream"
        chunks = response.iter_raw()
        assert b"one" in next(chunks)
        assert _in_flight(local, endpoint) == 1
    wait_for(lambda: _in_flight(local, endpoint) == 0, "the invocation to end")


def test_target_model_header_selects_the_model(local: Local, hosted: Hosted) -> None:
    """The operation has no member TargetModel, so that a multi-model endpoint needs the header."""
    endpoint = hosted("a")
    local.s3.put_object(Bucket="models", Key=f"{endpoint}/s.tar.gz", Body=archive("s", chunks=["x", "y"]))
    with pytest.raises(ClientError, match="is missing a target model header"):
        _stream(local, endpoint)

    def add_target_model(params: dict[str, Any], **_: Any) -> None:
        params["headers"]["X-Amzn-SageMaker-Target-Model"] = "s.tar.gz"

    event = "before-call.sagemaker-runtime.InvokeEndpointWithResponseStream"
    local.runtime.meta.events.register(event, add_target_model)
    try:
        assert "".join(_chunks(_stream(local, endpoint))) == "xy"
    finally:
        local.runtime.meta.events.unregister(event, add_target_model)


def _in_flight(local: Local, endpoint: str) -> int:
    state = httpx.get(f"{local.emulator.url}/_polyhost/state", trust_env=False).json()
    (found,) = [item for item in state["endpoints"] if item["name"] == endpoint]
    return int(found["variants"][0]["instances"][0]["outstanding"])
