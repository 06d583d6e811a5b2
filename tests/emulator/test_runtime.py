"""InvokeEndpoint through boto3: every answer and every error as the service gives it."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from tests.emulator.archives import archive, packed
from tests.emulator.conftest import REGION, Local

Hosted = Callable[..., str]


def _error(local: Local, endpoint: str, **members: Any) -> ClientError:
    with pytest.raises(ClientError) as caught:
        local.runtime.invoke_endpoint(EndpointName=endpoint, **({"Body": b"?"} | members))
    return caught.value


def _fault(local: Local, **members: Any) -> None:
    answer = httpx.post(f"{local.emulator.url}/_polyhost/faults", json=members, trust_env=False)
    assert answer.status_code == 201, answer.text


def test_a_call_reaches_its_model_and_its_headers_come_back(local: Local, hosted: Hosted) -> None:
    endpoint = hosted("a", "b")
    answer = local.ask(
        endpoint, "b", ContentType="text/csv", Accept="application/json", CustomAttributes="trace=1", InferenceId="id-1"
    )
    seen = json.loads(answer["Body"].read())
    assert seen["name"] == "b"
    assert seen["headers"]["content-type"] == "text/csv"
    assert seen["headers"]["accept"] == "application/json"
    assert seen["headers"]["x-amzn-sagemaker-target-model"] == "b.tar.gz"
    assert not any(name.startswith(("authorization", "x-amz-date", "amz-sdk")) for name in seen["headers"])
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["CustomAttributes"] == "trace=1"
    assert answer["ContentType"] == "application/json"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_a_single_model_endpoint_answers_without_a_target(local: Local, hosted: Hosted) -> None:
    endpoint = hosted(multi_model=False)
    assert json.loads(local.ask(endpoint, None)["Body"].read())["name"] == "one"
    error = _error(local, endpoint, TargetModel="a.tar.gz")
    assert error.response["Error"] == {
        "Code": "ValidationError",
        "Message": f"Endpoint {endpoint} is not a multi-model endpoint and does not support target model header.",
    }
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_what_is_asked_wrongly_is_a_validation_error(local: Local, hosted: Hosted) -> None:
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


def test_an_endpoint_that_does_not_exist(local: Local) -> None:
    error = _error(local, "nowhere", TargetModel="a.tar.gz")
    assert error.response["Error"]["Code"] == "ValidationError"
    assert error.response["Error"]["Message"] == "Endpoint nowhere of account 123456789012 not found."


@pytest.mark.parametrize("status", [400, 503])
def test_a_models_own_error_is_a_model_error(local: Local, hosted: Hosted, status: int) -> None:
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


def test_a_model_that_cannot_be_loaded_says_why_and_can_be_mended(local: Local, hosted: Hosted) -> None:
    endpoint = hosted("good")
    local.upload(endpoint, "bad", load_status=500)
    response: Any = _error(local, endpoint, TargetModel="bad.tar.gz").response
    assert response["Error"]["Code"] == "ModelError"
    assert response["OriginalStatusCode"] == 500
    assert "as the model wanted" in response["OriginalMessage"]
    local.upload(endpoint, "bad")
    assert json.loads(local.ask(endpoint, "bad")["Body"].read())["name"] == "bad"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no archive", "not a complete gzip-compressed tar"),
        (archive("a")[:-20], "not a complete gzip-compressed tar"),
        (packed({"../escape": b"x"}), "'../escape' would be written outside"),
    ],
)
def test_a_bad_archive_is_named(local: Local, hosted: Hosted, content: bytes, words: str) -> None:
    endpoint = hosted("good")
    local.s3.put_object(Bucket="models", Key=f"{endpoint}/bad.tar.gz", Body=content)
    error = _error(local, endpoint, TargetModel="bad.tar.gz")
    assert error.response["Error"]["Code"] == "ValidationError"
    assert words in error.response["Error"]["Message"]
    assert f"s3://models/{endpoint}/bad.tar.gz" in error.response["Error"]["Message"]
    assert local.ask(endpoint, "good")


def test_a_call_that_times_out_has_the_original_status_0(local: Local, hosted: Hosted) -> None:
    endpoint = hosted("a")
    _fault(local, kind="time-out", endpoint=endpoint)
    response: Any = _error(local, endpoint, TargetModel="a.tar.gz").response
    assert response["Error"]["Code"] == "ModelError"
    assert response["OriginalStatusCode"] == 0
    assert response["OriginalMessage"].startswith("Your invocation timed out while waiting for a response")
    assert local.ask(endpoint, "a")


def test_507_makes_room_and_every_model_answers(local: Local, hosted: Hosted) -> None:
    names = [f"m{number}" for number in range(6)]
    endpoint = hosted(*names, environment={"SMALL_CAPACITY": "2"})
    for name in names + names[::-1]:
        assert json.loads(local.ask(endpoint, name)["Body"].read())["name"] == name
    (instance,) = _instances(local, endpoint)
    assert [model["name"] for model in instance["models"]] == ["m0.tar.gz", "m1.tar.gz"]


def test_a_refused_load_on_demand_is_tried_again(local: Local, hosted: Hosted) -> None:
    endpoint = hosted("a", "b")
    local.ask(endpoint, "a")
    _fault(local, kind="refuse-load", endpoint=endpoint, model="b.tar.gz")
    assert json.loads(local.ask(endpoint, "b")["Body"].read())["name"] == "b"
    (instance,) = _instances(local, endpoint)
    assert [model["name"] for model in instance["models"]] == ["b.tar.gz"]
    _fault(local, kind="refuse-load", endpoint=endpoint, model="c.tar.gz", count=9)
    local.upload(endpoint, "c")
    response: Any = _error(local, endpoint, TargetModel="c.tar.gz").response
    assert response["OriginalStatusCode"] == 507
    httpx.delete(f"{local.emulator.url}/_polyhost/faults", trust_env=False)


def test_first_requests_at_once_share_one_load(local: Local, hosted: Hosted) -> None:
    endpoint = hosted("other")
    local.upload(endpoint, "slow", load_seconds=0.5)
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda _: local.ask(endpoint, "slow")["Body"].read(), range(8)))
    assert {json.loads(answer)["name"] for answer in answers} == {"slow"}
    (instance,) = _instances(local, endpoint)
    (model,) = instance["models"]
    assert (model["calls"], model["cold"]) == (8, 1)


def test_a_model_stays_where_it_is(local: Local, hosted: Hosted) -> None:
    endpoint = hosted("a", "b", count=2)
    for name in ("a", "b"):
        pids = {json.loads(local.ask(endpoint, name)["Body"].read())["pid"] for _ in range(6)}
        assert len(pids) == 1
    assert sorted(len(instance["models"]) for instance in _instances(local, endpoint)) == [1, 1]


def test_a_model_under_pressure_spreads(local: Local, hosted: Hosted) -> None:
    endpoint = hosted("other", count=2)
    local.upload(endpoint, "busy", invoke_seconds=0.1)
    local.ask(endpoint, "busy")
    with ThreadPoolExecutor(24) as clients:
        answers = list(clients.map(lambda _: local.ask(endpoint, "busy")["Body"].read(), range(72)))
    assert len({json.loads(answer)["pid"] for answer in answers}) == 2


def test_an_overwritten_archive_serves_from_the_cache_with_a_warning(local: Local, hosted: Hosted) -> None:
    endpoint = hosted("a", "b", environment={"SMALL_CAPACITY": "1"})
    local.ask(endpoint, "a")
    local.s3.put_object(Bucket="models", Key=f"{endpoint}/a.tar.gz", Body=archive("new"))
    local.ask(endpoint, "b")
    assert json.loads(local.ask(endpoint, "a")["Body"].read())["name"] == "a"


def _instances(local: Local, endpoint: str) -> list[dict[str, Any]]:
    state = httpx.get(f"{local.emulator.url}/_polyhost/state", trust_env=False).json()
    (found,) = [item for item in state["endpoints"] if item["name"] == endpoint]
    instances: list[dict[str, Any]] = found["variants"][0]["instances"]
    return instances
