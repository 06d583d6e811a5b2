"""InvokeEndpoint through boto3: responses and errors as the service gives them."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from polyhost.emulator.api.runtime import _response_headers
from tests.emulator.archives import archive, packed
from tests.emulator.conftest import REGION, Local
from tests.support.waiting import wait_for

Hosted = Callable[..., str]


def _error(local: Local, endpoint: str, **members: Any) -> ClientError:
    with pytest.raises(ClientError) as caught:
        local.runtime.invoke_endpoint(EndpointName=endpoint, **({"Body": b"?"} | members))
    return caught.value


def _fault(local: Local, **members: Any) -> None:
    response = httpx.post(f"{local.emulator.url}/_polyhost/faults", json=members, trust_env=False)
    assert response.status_code == 201, response.text


def test_invocation_reaches_its_model_and_headers_come_back(local: Local, hosted: Hosted) -> None:
    endpoint = hosted("a", "b")
    response = local.invoke(
        endpoint, "b", ContentType="text/csv", Accept="application/json", CustomAttributes="trace=1", InferenceId="id-1"
    )
    seen = json.loads(response["Body"].read())
    assert seen["name"] == "b"
    assert seen["headers"]["content-type"] == "text/csv"
    assert seen["headers"]["accept"] == "application/json"
    assert seen["headers"]["x-amzn-sagemaker-target-model"] == "b.tar.gz"
    assert not any(name.startswith(("authorization", "x-amz-date", "amz-sdk")) for name in seen["headers"])
    assert response["InvokedProductionVariant"] == "AllTraffic"
    assert response["CustomAttributes"] == "trace=1"
    assert response["ContentType"] == "application/json"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_single_model_endpoint_takes_no_target_model(local: Local, hosted: Hosted) -> None:
    endpoint = hosted(multi_model=False)
    assert json.loads(local.invoke(endpoint, None)["Body"].read())["name"] == "one"
    error = _error(local, endpoint, TargetModel="a.tar.gz")
    assert error.response["Error"] == {
        "Code": "ValidationError",
        "Message": f"Endpoint {endpoint} is not a multi-model endpoint and does not support target model header.",
    }
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_invalid_request_is_a_validation_error(local: Local, hosted: Hosted) -> None:
    endpoint = hosted("a")
    for members, words in (
        ({}, "is missing a target model header"),
        ({"TargetModel": "a.tar.gz", "TargetVariant": "other"}, "Variant other not found"),
        ({"TargetModel": "missing.tar.gz"}, f"s3://models/{endpoint}/missing.tar.gz"),
        ({"TargetModel": "a.tar.gz", "Body": b"x" * 6_291_457}, "less than or equal to 6291456"),
    ):
        error = _error(local, endpoint, **members)
        assert error.response["Error"]["Code"] == "ValidationError"
        assert words in error.response["Error"]["Message"]
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_unknown_endpoint_is_a_validation_error(local: Local) -> None:
    error = _error(local, "nowhere", TargetModel="a.tar.gz")
    assert error.response["Error"]["Code"] == "ValidationError"
    assert error.response["Error"]["Message"] == "Endpoint nowhere of account 123456789012 not found."


@pytest.mark.parametrize("status", [400, 503])
def test_error_of_the_model_is_a_model_error(local: Local, hosted: Hosted, status: int) -> None:
    endpoint = hosted("good")
    local.upload(endpoint, "bad", status=status)
    error = _error(local, endpoint, TargetModel="bad.tar.gz")
    response: Any = error.response
    kind = "client" if status < 500 else "server"
    assert response["Error"]["Code"] == "ModelError"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == status
    assert json.loads(response["OriginalMessage"])["name"] == "bad"
    group = f"log-group:/aws/sagemaker/Endpoints/{endpoint}"
    assert response["LogStreamArn"] == f"arn:aws:logs:{REGION}:123456789012:{group}"
    assert f"Received {kind} error ({status}) from primary with message" in response["Error"]["Message"]
    assert "in account 123456789012 for more information." in response["Error"]["Message"]


def test_failed_load_is_a_model_error_until_the_archive_is_fixed(local: Local, hosted: Hosted) -> None:
    endpoint = hosted("good")
    local.upload(endpoint, "bad", load_status=500)
    response: Any = _error(local, endpoint, TargetModel="bad.tar.gz").response
    assert response["Error"]["Code"] == "ModelError"
    assert response["OriginalStatusCode"] == 500
    assert "as model.json says" in response["OriginalMessage"]
    local.upload(endpoint, "bad")
    assert json.loads(local.invoke(endpoint, "bad")["Body"].read())["name"] == "bad"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not an archive", "not a complete gzip-compressed tar"),
        (archive("a")[:-20], "not a complete gzip-compressed tar"),
        (packed({"x": bytes(range(256)) * 4096})[:2000] + b"\xff" * 2000, "not a complete gzip-compressed tar"),
        (packed({"a": b"", "a/b": b"x"}), "its members contradict each other"),
        (packed({"../escape": b"x"}), "'../escape' would be written outside"),
    ],
    ids=["text", "cut short", "damaged", "file as folder", "escape"],
)
def test_bad_archive_is_a_validation_error_with_its_url(
    local: Local, hosted: Hosted, content: bytes, words: str
) -> None:
    endpoint = hosted("good")
    local.s3.put_object(Bucket="models", Key=f"{endpoint}/bad.tar.gz", Body=content)
    error = _error(local, endpoint, TargetModel="bad.tar.gz")
    assert error.response["Error"]["Code"] == "ValidationError"
    assert words in error.response["Error"]["Message"]
    assert f"s3://models/{endpoint}/bad.tar.gz" in error.response["Error"]["Message"]
    assert local.invoke(endpoint, "good")


def test_timeout_has_the_original_status_0(local: Local, hosted: Hosted) -> None:
    endpoint = hosted("a")
    _fault(local, kind="time-out", endpoint=endpoint)
    response: Any = _error(local, endpoint, TargetModel="a.tar.gz").response
    assert response["Error"]["Code"] == "ModelError"
    assert response["OriginalStatusCode"] == 0
    assert response["OriginalMessage"].startswith("Your invocation timed out while waiting for a response")
    assert local.invoke(endpoint, "a")


def test_container_that_exits_during_an_invocation_has_the_original_status_0(local: Local, hosted: Hosted) -> None:
    endpoint = hosted("good")
    local.upload(endpoint, "fatal", exit=3)
    response: Any = _error(local, endpoint, TargetModel="fatal.tar.gz").response
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == ("ModelError", 424)
    assert response["OriginalStatusCode"] == 0
    assert response["OriginalMessage"].startswith(
        f"Amazon SageMaker could not get a response from the {endpoint} endpoint. This can occur when CPU or memory"
        " utilization is high."
    )
    assert 'Received server error (0) from primary with message "Amazon SageMaker could' in response["Error"]["Message"]
    assert _raw_error(local, endpoint, "fatal")["ErrorCode"] == "INTERNAL_FAILURE_FROM_MODEL"
    assert local.invoke(endpoint, "good")


def test_long_error_is_truncated_as_the_service_does(local: Local, hosted: Hosted) -> None:
    endpoint = hosted("a")
    local.upload(endpoint, "x" * 900, status=413)  # the small container responds with the request's headers
    name = "x" * 900 + ".tar.gz"
    for attributes in ("", "y" * 1000):
        response: Any = _error(local, endpoint, TargetModel=name, CustomAttributes=attributes).response
        assert len(response["Error"]["Message"]) <= 2048 and len(response["OriginalMessage"]) <= 2048
        assert response["OriginalStatusCode"] == 413
        assert "#logEventViewer:group=" in response["Error"]["Message"]
    assert response["Error"]["Message"].startswith(
        "Received client error (413) from primary and could not load the entire response body. See https://"
    )


def test_response_headers_keep_their_bytes() -> None:
    headers = _response_headers({"x-amzn-sagemaker-custom-attributes": "模型\udcff"}, "v", b"content-type")
    assert headers[0] == (b"x-amzn-sagemaker-custom-attributes", "模型".encode() + b"\xff")


def test_slow_load_is_model_not_ready_and_goes_on(hasty: Local, tmp_path: Path) -> None:
    hasty.upload("slow", "slow", load_mark=str(tmp_path / "mark"))
    hasty.host("slow")
    error = _error(hasty, "slow", TargetModel="slow.tar.gz")
    assert error.response["Error"]["Code"] == "ModelNotReadyException"
    assert "slow.tar.gz is not ready" in error.response["Error"]["Message"]
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    (tmp_path / "mark").touch()
    wait_for(lambda: _is_loaded(hasty, "slow"), "the load to end")
    assert hasty.invoke("slow", "slow")


def test_slow_model_is_a_model_error(hasty: Local) -> None:
    hasty.upload("late", "late", invoke_seconds=120)
    hasty.host("late")
    response: Any = _error(hasty, "late", TargetModel="late.tar.gz").response
    assert (response["Error"]["Code"], response["OriginalStatusCode"]) == ("ModelError", 0)
    assert response["OriginalMessage"].startswith("Your invocation timed out while waiting for a response")


def test_missing_bucket_is_a_validation_error(local: Local, hosted: Hosted) -> None:
    local.model("bucketless", ModelDataUrl="s3://no-such-bucket/prefix/")
    local.config("bucketless")
    local.sagemaker.create_endpoint(EndpointName="bucketless", EndpointConfigName="bucketless")
    local.wait("bucketless")
    error = _error(local, "bucketless", TargetModel="a.tar.gz")
    assert error.response["Error"]["Code"] == "ValidationError"
    assert error.response["Error"]["Message"] == (
        'Failed to download model data for container "container_1" from URL: "s3://no-such-bucket/prefix/a.tar.gz".'
        " Please ensure that there is an object located at the URL and that the role passed to CreateModel has"
        " permissions to download the object."
    )


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("ThrottlingException", 400),
        ("AccessDeniedException", 403),
        ("ModelNotReadyException", 429),
        ("InternalFailure", 500),
        ("ServiceUnavailable", 503),
        ("InternalDependencyException", 530),
    ],
)
def test_faults_return_the_services_own_errors(local: Local, hosted: Hosted, code: str, status: int) -> None:
    endpoint = hosted("a")
    _fault(local, kind="error", code=code, endpoint=endpoint, count=3)  # botocore tries three times
    error = _error(local, endpoint, TargetModel="a.tar.gz")
    assert error.response["Error"]["Code"] == code
    assert error.response["Error"]["Message"] == (None if code == "ThrottlingException" else "A fault on demand.")
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == status
    httpx.delete(f"{local.emulator.url}/_polyhost/faults", trust_env=False)
    assert local.invoke(endpoint, "a")


def test_members_are_checked_against_their_shapes(local: Local, hosted: Hosted) -> None:
    endpoint = hosted("a")
    for members, words in (
        ({"TargetModel": "m" * 1025}, "at 'targetModel' failed to satisfy constraint: Member must have length less"),
        ({"CustomAttributes": "x" * 1025}, "Value at 'customAttributes' failed to satisfy constraint"),
        ({"SessionId": "-"}, "Value '-' at 'sessionId' failed to satisfy constraint: Member must satisfy regular"),
        ({"InferenceComponentName": "c"}, "does not support InferenceComponentName"),
        ({"EnableExplanations": "`true`"}, "does not support EnableExplanations"),
        ({"TargetContainerHostname": "h"}, "does not support target container hostname header"),
    ):
        error = _error(local, endpoint, **({"TargetModel": "a.tar.gz"} | members))
        assert error.response["Error"]["Code"] == "ValidationError"
        assert words in error.response["Error"]["Message"]


def test_session_stays_with_the_container_that_opened_it(local: Local, hosted: Hosted) -> None:
    endpoint = hosted(multi_model=False, count=2)
    opened = local.invoke(endpoint, None, SessionId="NEW_SESSION")
    session, _, expires = opened["NewSessionId"].partition("; ")
    assert expires.startswith("Expires=")
    pid = json.loads(opened["Body"].read())["pid"]
    with ThreadPoolExecutor(8) as clients:
        bodies = list(clients.map(lambda _: local.invoke(endpoint, None, SessionId=session)["Body"].read(), range(24)))
    assert {json.loads(body)["pid"] for body in bodies} == {pid}
    assert local.invoke(endpoint, None, SessionId=session, CustomAttributes="close")["ClosedSessionId"] == session


def test_507_evicts_so_that_every_model_responds(local: Local, hosted: Hosted) -> None:
    names = [f"m{number}" for number in range(6)]
    endpoint = hosted(*names, environment={"SMALL_CAPACITY": "2"})
    for name in names + names[::-1]:
        assert json.loads(local.invoke(endpoint, name)["Body"].read())["name"] == name
    (instance,) = _instances(local, endpoint)
    assert [model["name"] for model in instance["models"]] == ["m0.tar.gz", "m1.tar.gz"]


def test_fault_refuse_load_evicts_and_retries(local: Local, hosted: Hosted) -> None:
    endpoint = hosted("a", "b")
    local.invoke(endpoint, "a")
    _fault(local, kind="refuse-load", endpoint=endpoint, model="b.tar.gz")
    assert json.loads(local.invoke(endpoint, "b")["Body"].read())["name"] == "b"
    (instance,) = _instances(local, endpoint)
    assert [model["name"] for model in instance["models"]] == ["b.tar.gz"]
    _fault(local, kind="refuse-load", endpoint=endpoint, model="c.tar.gz", count=9)
    local.upload(endpoint, "c")
    response: Any = _error(local, endpoint, TargetModel="c.tar.gz").response
    assert response["OriginalStatusCode"] == 507
    httpx.delete(f"{local.emulator.url}/_polyhost/faults", trust_env=False)


def test_concurrent_first_requests_share_one_load(local: Local, hosted: Hosted) -> None:
    endpoint = hosted("other")
    local.upload(endpoint, "slow", load_seconds=0.5)
    with ThreadPoolExecutor(8) as clients:
        responses = list(clients.map(lambda _: local.invoke(endpoint, "slow")["Body"].read(), range(8)))
    assert {json.loads(response)["name"] for response in responses} == {"slow"}
    (instance,) = _instances(local, endpoint)
    (model,) = instance["models"]
    assert (model["calls"], model["cold"]) == (8, 1)


def test_model_stays_on_its_instance(local: Local, hosted: Hosted) -> None:
    endpoint = hosted("a", "b", count=2)
    for name in ("a", "b"):
        pids = {json.loads(local.invoke(endpoint, name)["Body"].read())["pid"] for _ in range(6)}
        assert len(pids) == 1
    assert sorted(len(instance["models"]) for instance in _instances(local, endpoint)) == [1, 1]


def test_busy_model_spreads_to_a_second_instance(local: Local, hosted: Hosted) -> None:
    endpoint = hosted("other", count=2)
    local.upload(endpoint, "busy", invoke_seconds=0.1)
    local.invoke(endpoint, "busy")
    with ThreadPoolExecutor(24) as clients:
        responses = list(clients.map(lambda _: local.invoke(endpoint, "busy")["Body"].read(), range(72)))
    assert len({json.loads(response)["pid"] for response in responses}) == 2


def test_overwritten_archive_is_served_from_the_cache(local: Local, hosted: Hosted) -> None:
    endpoint = hosted("a", "b", environment={"SMALL_CAPACITY": "1"})
    local.invoke(endpoint, "a")
    local.s3.put_object(Bucket="models", Key=f"{endpoint}/a.tar.gz", Body=archive("new"))
    local.invoke(endpoint, "b")
    assert json.loads(local.invoke(endpoint, "a")["Body"].read())["name"] == "a"


def _is_loaded(local: Local, endpoint: str) -> bool:
    return any(model["state"] == "loaded" for instance in _instances(local, endpoint) for model in instance["models"])


def _raw_error(local: Local, endpoint: str, model: str) -> dict[str, Any]:
    """Return the body of an error as it is sent; botocore's shapes leave some of it out."""
    url = f"{local.emulator.url}/endpoints/{endpoint}/invocations"
    scope = f"x/20260101/{REGION}/sagemaker/aws4_request"
    headers = {
        "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
        "X-Amzn-SageMaker-Target-Model": f"{model}.tar.gz",
    }
    body: dict[str, Any] = httpx.post(url, content=b"?", headers=headers, trust_env=False, timeout=30).json()
    return body


def _instances(local: Local, endpoint: str) -> list[dict[str, Any]]:
    state = httpx.get(f"{local.emulator.url}/_polyhost/state", trust_env=False).json()
    (found,) = [item for item in state["endpoints"] if item["name"] == endpoint]
    instances: list[dict[str, Any]] = found["variants"][0]["instances"]
    return instances
