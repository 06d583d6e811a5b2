"""InvokeEndpointAsync: what is accepted, and what is rejected in which words."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from tests.emulator.async_inference.harness import AsyncEndpoint, async_endpoint
from tests.emulator.conftest import REGION, Local

NAME = "async-checked"
S3 = "s3://models/async-checked/in/one"
PREFIX = "X-Amzn-SageMaker-"
# Signatures are not checked; the credential's scope has the region.
SIGNED = {"Authorization": f"AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/sagemaker/aws4_request"}


@pytest.fixture(scope="module")
def endpoint(local: Local) -> Iterator[AsyncEndpoint]:
    with async_endpoint(local, NAME) as made:
        yield made


@pytest.mark.parametrize(
    ("headers", "body", "message"),
    [
        ({}, b"", "Provide exactly one of InputLocation and Body; the request has neither."),
        ({"InputLocation": S3}, b"x", "Provide exactly one of InputLocation and Body; the request has both."),
        ({}, b"x" * 128_001, "at 'body' failed to satisfy constraint: Member must have length less than or equal to 1"),
        ({"InputLocation": "ftp://a/b"}, b"", "Value 'ftp://a/b' at 'inputLocation' failed to satisfy constraint"),
        ({"InputLocation": "s3://bucket"}, b"", "InputLocation 's3://bucket' is no address of an object in S3; use"),
        ({"InputLocation": "s3://bucket/folder/"}, b"", "InputLocation 's3://bucket/folder/' is no address of an"),
        ({"InputLocation": "https://example.com/x"}, b"", "InputLocation 'https://example.com/x' is no address of an"),
        ({"InputLocation": S3, "RequestTTLSeconds": "59"}, b"", "at 'requestTTLSeconds' failed to satisfy constraint"),
        ({"InputLocation": S3, "RequestTTLSeconds": "soon"}, b"", "Value 'soon' at 'requestTTLSeconds' failed to"),
        (
            {"InputLocation": S3, "InvocationTimeoutSeconds": "3601"},
            b"",
            "Member must have value less than or equal to",
        ),
        ({"InputLocation": S3, "Inference-Id": "x" * 65}, b"", "at 'inferenceId' failed to satisfy constraint: Member"),
        ({"InputLocation": S3, "Filename": "a.b.c"}, b"", "at 'filename' failed to satisfy constraint: Member must"),
        ({"InputLocation": S3, "S3OutputPathExtension": "s3:x"}, b"", "at 's3OutputPathExtension' failed to satisfy"),
        ({"InputLocation": S3, "Target-Model": "a"}, b"", "InvokeEndpointAsync does not support TargetModel; leave it"),
    ],
)
def test_invalid_requests_are_rejected(
    endpoint: AsyncEndpoint, headers: dict[str, str], body: bytes, message: str
) -> None:
    response = httpx.post(
        f"{endpoint.local.emulator.url}/endpoints/{NAME}/async-invocations",
        headers=SIGNED | {f"{PREFIX}{name}": value for name, value in headers.items()},
        content=body,
        trust_env=False,
    )
    assert (response.status_code, response.headers["x-amzn-errortype"]) == (400, "ValidationError")
    assert message in response.json()["Message"]
    assert endpoint.queue() == (0, 0)


def _error(call: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    assert caught.value.response["Error"]["Code"] == "ValidationError"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return str(caught.value.response["Error"]["Message"])


def test_an_asynchronous_endpoint_takes_no_other_calls(endpoint: AsyncEndpoint) -> None:
    runtime = endpoint.local.runtime
    for operation, invoke in (
        ("InvokeEndpoint", runtime.invoke_endpoint),
        ("InvokeEndpointWithResponseStream", runtime.invoke_endpoint_with_response_stream),
    ):
        assert _error(partial(invoke, EndpointName=NAME, Body=b"?")) == (
            f"Endpoint {NAME} is an asynchronous endpoint and does not support {operation}; use InvokeEndpointAsync."
        )


def test_other_endpoints_take_no_asynchronous_calls(local: Local, hosted: Callable[..., str]) -> None:
    name = hosted("a")
    message = _error(lambda: local.runtime.invoke_endpoint_async(EndpointName=name, InputLocation=S3))
    assert message.startswith(f"Endpoint {name} is not an asynchronous endpoint and does not support")
    message = _error(lambda: local.runtime.invoke_endpoint_async(EndpointName="nowhere", InputLocation=S3))
    assert message == "Endpoint nowhere of account 123456789012 not found."


def test_addresses_of_https_are_taken_too(endpoint: AsyncEndpoint) -> None:
    key = endpoint.put_input().removeprefix("s3://models/")
    response = endpoint.invoke(f"https://s3-{REGION}.amazonaws.com/models/{key}")
    assert endpoint.answer(response)["name"] == "one"


def test_identifiers_are_made_if_need_be(endpoint: AsyncEndpoint) -> None:
    first, second = endpoint.invoke(), endpoint.invoke()
    assert len({first["InferenceId"], second["InferenceId"], first["OutputLocation"], second["OutputLocation"]}) == 4
    assert "FailureLocation" not in first  # there is no S3FailurePath
    # A client may use an identifier twice; no answer overwrites another.
    twice = [endpoint.invoke(InferenceId="same")["OutputLocation"] for _ in range(2)]
    assert len(set(twice)) == 2


def test_a_fault_on_demand_rejects_a_request(endpoint: AsyncEndpoint) -> None:
    url = f"{endpoint.local.emulator.url}/_polyhost/faults"
    fault = {"kind": "error", "code": "AccessDeniedException", "endpoint": NAME}
    httpx.post(url, json=fault, trust_env=False).raise_for_status()
    with pytest.raises(ClientError) as caught:
        endpoint.invoke()
    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
    assert json.dumps(endpoint.answer(endpoint.invoke()))
