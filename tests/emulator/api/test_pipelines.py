"""Serial inference pipelines, as clients see them."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from tests.emulator.api.several_containers import container, delete, host, multi_model_container, wait_until
from tests.emulator.conftest import REGION, ROLE, Local

PIPELINE = "pipeline"
BROKEN = "pipeline-broken"


@pytest.fixture(scope="module")
def pipeline(local: Local) -> Iterator[str]:
    host(
        local,
        PIPELINE,
        container(local, PIPELINE, "before"),
        multi_model_container(local, PIPELINE, "models", "a", "b"),
        container(local, PIPELINE, "after"),
    )
    yield PIPELINE
    delete(local, PIPELINE)


@pytest.fixture(scope="module")
def broken(local: Local) -> Iterator[str]:
    """Host a pipeline whose middle fails, or responds with too much."""
    archives = f"{BROKEN}/middle"
    middle = multi_model_container(local, BROKEN, "middle")
    local.upload(archives, "fails", status=500)
    local.upload(archives, "rejects", status=415)
    local.upload(archives, "large", quotes=True, padding=6_000_000)
    local.upload(archives, "dies", exit=7)
    host(local, BROKEN, container(local, BROKEN, "first"), middle, container(local, BROKEN, "last"))
    yield BROKEN
    delete(local, BROKEN)


def _invoke(local: Local, endpoint: str, **members: Any) -> dict[str, Any]:
    response: dict[str, Any] = local.runtime.invoke_endpoint(EndpointName=endpoint, Body=b"raw", **members)
    return response


def _error(local: Local, endpoint: str, **members: Any) -> Any:
    with pytest.raises(ClientError) as caught:
        _invoke(local, endpoint, **members)
    return caught.value.response


def test_each_response_is_the_next_request(local: Local, pipeline: str) -> None:
    response = _invoke(
        local, pipeline, TargetModel="b.tar.gz", ContentType="text/csv", Accept="text/plain", CustomAttributes="x"
    )
    assert (response["ContentType"], response["CustomAttributes"]) == ("application/json", "x")
    last = json.loads(response["Body"].read())
    middle = json.loads(last["body"])
    first = json.loads(middle["body"])
    assert [seen["name"] for seen in (first, middle, last)] == ["before", "b", "after"]
    assert first["body"] == "raw"
    seen = [step["headers"] for step in (first, middle, last)]
    assert [headers["content-type"] for headers in seen] == ["text/csv", "application/json", "application/json"]
    assert [headers.get("accept") for headers in seen] == [None, None, "text/plain"]
    assert [headers["x-amzn-sagemaker-custom-attributes"] for headers in seen] == ["x"] * 3
    target = "x-amzn-sagemaker-target-model"
    assert [headers.get(target) for headers in seen] == [None, "b.tar.gz", None]


def test_descriptions(local: Local, pipeline: str) -> None:
    model = local.sagemaker.describe_model(ModelName=pipeline)
    assert [item["ContainerHostname"] for item in model["Containers"]] == ["before", "models", "after"]
    assert "PrimaryContainer" not in model
    (variant,) = local.sagemaker.describe_endpoint(EndpointName=pipeline)["ProductionVariants"]
    assert [image["SpecifiedImage"] for image in variant["DeployedImages"]] == ["small"] * 3
    state = httpx.get(f"{local.emulator.url}/_polyhost/state", trust_env=False).json()
    (shown,) = (endpoint for endpoint in state["endpoints"] if endpoint["name"] == pipeline)
    (variant,) = shown["variants"]
    assert (variant["containers"], variant["execution"]) == (["before", "models", "after"], "Serial")
    (instance,) = variant["instances"]
    assert [item["name"] for item in instance["containers"]] == ["before", "models", "after"]
    assert len({item["pid"] for item in instance["containers"]}) == 3
    assert instance["memory_used"] >= max(item["memory_used"] for item in instance["containers"]) > 0


def test_target_is_checked(local: Local, pipeline: str) -> None:
    for members, words in (
        ({}, "is missing a target model header"),
        ({"TargetModel": "a.tar.gz", "TargetContainerHostname": "after"}, "target container hostname header"),
    ):
        error = _error(local, pipeline, **members)["Error"]
        assert error["Code"] == "ValidationError"
        assert words in error["Message"]


def test_errors_name_the_container(local: Local, broken: str) -> None:
    for model, status, received in (
        ("fails", 500, "Received server error (500) from middle with message"),
        ("rejects", 415, "Received client error (415) from middle with message"),
    ):
        response = _error(local, broken, TargetModel=f"{model}.tar.gz")
        assert (response["Error"]["Code"], response["OriginalStatusCode"]) == ("ModelError", status)
        assert response["Error"]["Message"].startswith(received)
    response = _error(local, broken, TargetModel="large.tar.gz")
    assert response["Error"]["Code"] == "ModelError"
    assert response["Error"]["Message"].startswith("Received response from middle with status code 200. However, the")
    assert "from middle to last is 6" in response["Error"]["Message"]
    assert "has exceeded the maximum limit of 5 MB. See https://" in response["Error"]["Message"]


def test_a_time_out_names_the_container(hasty: Local) -> None:
    name = "pipeline-slow"
    host(hasty, name, container(hasty, name, "quick"), container(hasty, name, "slow", invoke_seconds=30))
    response = _error(hasty, name)
    assert response["Error"]["Code"] == "ModelError"
    assert "while waiting for a response from container slow." in response["OriginalMessage"]
    delete(hasty, name)


def test_a_container_that_ends_is_replaced_alone(local: Local, broken: str) -> None:
    def instance() -> Any:
        state = httpx.get(f"{local.emulator.url}/_polyhost/state", trust_env=False).json()
        (shown,) = (endpoint for endpoint in state["endpoints"] if endpoint["name"] == broken)
        return shown["variants"][0]["instances"][0]

    before = instance()
    assert _error(local, broken, TargetModel="dies.tar.gz")["Error"]["Code"] == "ModelError"
    wait_until(lambda: instance()["restarts"] == before["restarts"] + 1 and instance()["status"] == "InService")
    pids = [(old["pid"], new["pid"]) for old, new in zip(before["containers"], instance()["containers"], strict=True)]
    assert [old == new for old, new in pids] == [True, False, True]
    assert _error(local, broken, TargetModel="rejects.tar.gz")["OriginalStatusCode"] == 415


def test_faults_on_demand_reach_a_pipeline(local: Local, pipeline: str) -> None:
    url = f"{local.emulator.url}/_polyhost/faults"
    for kind, words in (
        ("time-out", "while waiting for a response from container before."),
        ("kill-container", "could not get a response from the pipeline endpoint"),
    ):
        httpx.post(url, json={"kind": kind, "endpoint": pipeline}, trust_env=False).raise_for_status()
        response = _error(local, pipeline, TargetModel="a.tar.gz")
        assert response["Error"]["Code"] == "ModelError"
        assert words in response["OriginalMessage"]
    assert _invoke(local, pipeline, TargetModel="a.tar.gz")["ContentType"] == "application/json"


def test_the_last_container_s_response_is_streamed(local: Local) -> None:
    name = "pipeline-stream"
    host(local, name, container(local, name, "one"), container(local, name, "two", chunks=["a", "b"], chunk_seconds=1))
    response = local.runtime.invoke_endpoint_with_response_stream(EndpointName=name, Body=b"?")
    assert [event["PayloadPart"]["Bytes"] for event in response["Body"]] == [b"a", b"b"]
    delete(local, name)


def test_latencies_and_logs_by_container(local: Local, pipeline: str) -> None:
    _invoke(local, pipeline, TargetModel="a.tar.gz")
    cloudwatch, logs = (local.emulator.client(service, REGION) for service in ("cloudwatch", "logs"))

    def calls(metric: str, **dimensions: str) -> float:
        now = datetime.now(UTC)
        named = {"EndpointName": pipeline, "VariantName": "AllTraffic"} | dimensions
        points = cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=metric,
            Dimensions=[{"Name": key, "Value": value} for key, value in named.items()],
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(minutes=1),
            Period=3600,
            Statistics=["SampleCount"],
        )["Datapoints"]
        return float(sum(point["SampleCount"] for point in points))

    for name in ("before", "models", "after"):
        wait_until(partial(lambda each: calls("ContainerLatency", ContainerName=each) >= 1, name))
    wait_until(lambda: calls("ModelLatency") >= 1)
    assert calls("Invocations", ContainerName="before") == 0  # those are of containers that are called directly
    group = f"/aws/sagemaker/Endpoints/{pipeline}"
    wait_until(lambda: len(logs.describe_log_streams(logGroupName=group)["logStreams"]) == 3)
    streams = {stream["logStreamName"] for stream in logs.describe_log_streams(logGroupName=group)["logStreams"]}
    assert {stream.split("/")[0] for stream in streams} == {"AllTraffic"}
    assert {stream.split("/")[2] for stream in streams} == {"before", "models", "after"}


def test_a_container_that_does_not_start_is_named(local: Local) -> None:
    name = "pipeline-failing"
    good, bad, missing = (container(local, name, part) for part in ("good", "bad", "missing"))
    bad["Environment"] = {"SMALL_EXIT": "3"}
    missing["ModelDataUrl"] = "s3://models/nowhere/model.tar.gz"
    for number, (faulty, words) in enumerate(
        (
            (bad, "The bad container for production variant AllTraffic did not pass the ping health check."),
            (missing, 'Failed to download model data for container "missing" from URL: "s3://models/nowhere/model'),
        )
    ):
        each = f"{name}-{number}"
        local.sagemaker.create_model(ModelName=each, ExecutionRoleArn=ROLE, Containers=[good, faulty])
        local.config(each)
        local.sagemaker.create_endpoint(EndpointName=each, EndpointConfigName=each)
        with pytest.raises(Exception, match="Waiter EndpointInService failed"):
            local.wait(each)
        described = local.sagemaker.describe_endpoint(EndpointName=each)
        assert described["EndpointStatus"] == "Failed"
        assert described["FailureReason"].startswith(words)
        delete(local, each)
