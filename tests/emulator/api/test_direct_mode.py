"""Multi-container endpoints whose containers are called directly, as clients see them."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.server import Emulator
from tests.emulator.api.several_containers import container, delete, host, multi_model_container, wait_until
from tests.emulator.conftest import COMMAND, REGION, Local

ENDPOINT = "direct"


@pytest.fixture(scope="module")
def endpoint(local: Local) -> Iterator[str]:
    containers = (
        container(local, ENDPOINT, "first"),
        container(local, ENDPOINT, "Second-1", status=418),
        multi_model_container(local, ENDPOINT, "many", "a", "b"),
    )
    host(local, ENDPOINT, *containers, mode="Direct", count=2)
    yield ENDPOINT
    delete(local, ENDPOINT)


def _invoke(local: Local, target: str | None, **members: Any) -> Any:
    named = {"TargetContainerHostname": target} if target else {}
    response = local.runtime.invoke_endpoint(EndpointName=ENDPOINT, Body=b"?", **named, **members)
    return json.loads(response["Body"].read())


def _error(local: Local, target: str | None, **members: Any) -> Any:
    with pytest.raises(ClientError) as caught:
        _invoke(local, target, **members)
    return caught.value.response


def test_a_container_is_called_by_its_name(local: Local, endpoint: str) -> None:
    assert _invoke(local, "first")["name"] == "first"
    assert "x-amzn-sagemaker-target-container-hostname" not in _invoke(local, "first")["headers"]
    assert _invoke(local, "many", TargetModel="b.tar.gz")["name"] == "b"
    response = _error(local, "Second-1")
    assert (response["Error"]["Code"], response["OriginalStatusCode"]) == ("ModelError", 418)
    assert response["Error"]["Message"].startswith("Received client error (418) from Second-1 with message")
    assert local.sagemaker.describe_model(ModelName=endpoint)["InferenceExecutionConfig"] == {"Mode": "Direct"}


def test_invalid_targets(local: Local, endpoint: str) -> None:
    for target, members, words in (
        (None, {}, "missing a target container hostname header; its containers are first, Second-1, many."),
        ("second-1", {}, "Target container hostname second-1 does not exist"),
        ("first", {"TargetModel": "a.tar.gz"}, "does not support target model header"),
        ("many", {}, "is missing a target model header"),
        ("-", {}, "Value '-' at 'targetContainerHostname' failed to satisfy constraint"),
    ):
        error = _error(local, target, **members)["Error"]
        assert error["Code"] == "ValidationError"
        assert words in error["Message"]


def test_a_stream_of_a_container(local: Local, endpoint: str) -> None:
    response = local.runtime.invoke_endpoint_with_response_stream(
        EndpointName=endpoint, Body=b"?", TargetContainerHostname="first"
    )
    content = b"".join(event["PayloadPart"]["Bytes"] for event in response["Body"])
    assert json.loads(content)["name"] == "first"


def test_faults_on_demand_hit_the_container_that_is_called(local: Local, endpoint: str) -> None:
    url = f"{local.emulator.url}/_polyhost/faults"
    for kind, target, words in (
        ("time-out", "first", "while waiting for a response from container first."),
        ("kill-container", "Second-1", "could not get a response from the direct endpoint"),
    ):
        httpx.post(url, json={"kind": kind, "endpoint": endpoint}, trust_env=False).raise_for_status()
        response = _error(local, target)
        assert (response["Error"]["Code"], response["OriginalStatusCode"]) == ("ModelError", 0)
        assert words in response["OriginalMessage"]
    assert _invoke(local, "first")["name"] == "first"


def test_metrics_by_container(local: Local, endpoint: str) -> None:
    cloudwatch = local.emulator.client("cloudwatch", REGION)

    def total(namespace: str, metric: str, container_name: str, statistic: str = "Sum") -> float:
        now = datetime.now(UTC)
        named = {"EndpointName": endpoint, "VariantName": "AllTraffic", "ContainerName": container_name}
        points = cloudwatch.get_metric_statistics(
            Namespace=namespace,
            MetricName=metric,
            Dimensions=[{"Name": key, "Value": value} for key, value in named.items()],
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(minutes=1),
            Period=3600,
            Statistics=[statistic],
        )["Datapoints"]
        return float(sum(point[statistic] for point in points))

    before = total("AWS/SageMaker", "Invocations", "Second-1")
    _error(local, "Second-1")
    wait_until(lambda: total("AWS/SageMaker", "Invocations", "Second-1") >= before + 1)
    wait_until(lambda: total("AWS/SageMaker", "Invocation4XXErrors", "Second-1") >= 1)
    wait_until(lambda: total("AWS/SageMaker", "ContainerLatency", "Second-1", "SampleCount") >= 1)
    wait_until(lambda: total("AWS/SageMaker", "OverheadLatency", "Second-1", "SampleCount") >= 1)
    assert total("AWS/SageMaker", "Invocation5XXErrors", "Second-1") == 0
    for name in ("first", "Second-1", "many"):
        wait_until(partial(total, "/aws/sagemaker/Endpoints", "MemoryUtilization", name))


def test_each_image_has_its_command() -> None:
    """As `polyhost emulator --image-command` sets it."""
    commands = {"*/other:*": ("/usr/bin/env", "SMALL_MARK=other", *COMMAND)}
    with Emulator(EmulatorConfig(port=0, command=COMMAND, image_commands=commands)) as emulator:
        local = Local(emulator)
        containers = (
            container(local, ENDPOINT, "one"),
            container(local, ENDPOINT, "two", image="123456789012.dkr.ecr.us-east-1.amazonaws.com/other:1"),
        )
        host(local, ENDPOINT, *containers, mode="Direct")
        assert [_invoke(local, name)["mark"] for name in ("one", "two")] == [None, "other"]
