"""Serverless endpoints as a client sees them: calls, errors, limits, metrics, logs and the state."""

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from polyhost.emulator.hosting.control_group import OwnControlGroup
from tests.emulator.api.serverless_endpoints import host_serverless
from tests.emulator.api.several_containers import delete
from tests.emulator.conftest import REGION, Local
from tests.emulator.telemetry.test_cloudwatch import INSTANCE, read, wait_for_samples
from tests.support.emulator import boto3_client
from tests.support.waiting import wait_for

Host = Callable[..., str]


@pytest.fixture
def serverless(local: Local, request: pytest.FixtureRequest) -> Iterator[Host]:
    """Host a serverless endpoint under a name of the test's own, and delete it afterwards."""
    name = f"s-{abs(hash(request.node.nodeid)):x}"

    def host(**settings: Any) -> str:
        host_serverless(local, name, **settings)
        return name

    yield host
    delete(local, name)


@pytest.fixture
def plain(local: Local) -> Any:
    """Return a runtime client that does not retry."""
    return boto3_client(local.emulator.url, "sagemaker-runtime", REGION)


def variant_state(local: Local, name: str) -> dict[str, Any]:
    """Return the endpoint's variant as the dashboard gets it."""
    endpoints = httpx.get(f"{local.emulator.url}/_polyhost/state", trust_env=False).json()["endpoints"]
    (endpoint,) = [endpoint for endpoint in endpoints if endpoint["name"] == name]
    found: dict[str, Any] = endpoint["variants"][0]
    return found


def test_a_call_above_the_maximum_concurrency_is_throttled(
    local: Local, serverless: Host, plain: Any, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    name = serverless(settings={"invoke_mark": str(mark)})
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(plain.invoke_endpoint, EndpointName=name, Body=b"?")
        wait_for(lambda: variant_state(local, name)["serverless"]["executions"], "the call in progress", 60)
        with pytest.raises(ClientError) as caught:
            plain.invoke_endpoint(EndpointName=name, Body=b"?")
        mark.touch()
        assert json.loads(first.result()["Body"].read())["name"] == "one"
    error = caught.value.response
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == ("ThrottlingException", 400)
    assert not error["Error"].get("Message")
    state = variant_state(local, name)
    assert [container["status"] for container in state["instances"]] == ["Warm"]
    assert state["serverless"] == {
        "memory_mb": 1024,
        "max_concurrency": 1,
        "provisioned": 0,
        "executions": 0,
        "cold_starts": 1,
        "throttled": 1,
    }


def test_a_body_has_at_most_4_mb(serverless: Host, plain: Any) -> None:
    name = serverless()
    response = plain.invoke_endpoint(EndpointName=name, Body=b"x" * (4 << 20))
    assert json.loads(response["Body"].read())["length"] == 4 << 20
    with pytest.raises(ClientError, match=r"\(ValidationError\).*: Request [-0-9a-f]{36} has oversize body\."):
        plain.invoke_endpoint(EndpointName=name, Body=b"x" * ((4 << 20) + 1))


def test_the_answer_is_that_of_an_endpoint_with_instances(serverless: Host, plain: Any) -> None:
    name = serverless(settings={"chunks": ["a", "b"]})
    streamed = plain.invoke_endpoint_with_response_stream(EndpointName=name, Body=b"?", CustomAttributes="mine")
    assert streamed["InvokedProductionVariant"] == "AllTraffic"
    assert streamed["CustomAttributes"] == "mine"
    assert b"".join(event["PayloadPart"]["Bytes"] for event in streamed["Body"]) == b"ab"
    with pytest.raises(ClientError, match="is not a multi-model endpoint"):
        plain.invoke_endpoint(EndpointName=name, TargetModel="a.tar.gz", Body=b"?")


def test_errors_of_the_model_and_of_the_container(serverless: Host, plain: Any) -> None:
    name = serverless(settings={"status": 500})
    with pytest.raises(ClientError, match=r"\(ModelError\).*Received server error \(500\) from primary"):
        plain.invoke_endpoint(EndpointName=name, Body=b"?")


def test_a_container_that_ends_during_a_call_is_a_model_error(serverless: Host, plain: Any) -> None:
    name = serverless(settings={"exit": 9})
    for _ in range(2):
        with pytest.raises(ClientError) as caught:
            plain.invoke_endpoint(EndpointName=name, Body=b"?")
        assert caught.value.response["OriginalStatusCode"] == 0
        assert f"could not get a response from the {name} endpoint" in caught.value.response["Error"]["Message"]


def test_a_cold_start_that_fails_is_a_model_error_with_the_reason(local: Local, serverless: Host, plain: Any) -> None:
    name = serverless()
    httpx.post(
        f"{local.emulator.url}/_polyhost/faults", json={"kind": "refuse-load", "endpoint": name}, trust_env=False
    )
    with pytest.raises(ClientError) as caught:
        plain.invoke_endpoint(EndpointName=name, Body=b"?")
    message = caught.value.response["Error"]["Message"]
    assert "The primary container for production variant AllTraffic did not pass the ping health check." in message
    assert "a fault on demand: the container does not start" in message
    plain.invoke_endpoint(EndpointName=name, Body=b"?")


def test_metrics_have_awss_names_units_and_namespaces(local: Local, serverless: Host) -> None:
    name = serverless(ProvisionedConcurrency=1, MaxConcurrency=2)
    local.invoke(name, None)
    for metric, samples, total, unit in (
        ("Invocations", 1, 1, "None"),
        ("Invocation4XXErrors", 1, 0, "None"),
        ("Invocation5XXErrors", 1, 0, "None"),
        ("ServerlessProvisionedConcurrencyInvocations", 1, 1, "Count"),
    ):
        found = wait_for_samples(local, metric, name, samples)
        assert (found["Sum"], found["Unit"]) == (total, unit), metric
    for metric, most, unit in (
        ("ServerlessConcurrentExecutionsUtilization", 0.5, "None"),
        ("ServerlessProvisionedConcurrencyExecutions", 1, "Count"),
        ("ServerlessProvisionedConcurrencyUtilization", 1, "None"),
    ):
        found = wait_for_samples(local, metric, name, 1)
        assert (found["Maximum"], found["Unit"]) == (most, unit), metric
    assert wait_for_samples(local, "MemoryUtilization", name, 1, INSTANCE)["Maximum"] < 100
    wait_for_samples(local, "ModelLatency", name, 1)
    for metric, namespace in (
        ("ModelSetupTime", "AWS/SageMaker"),  # nothing but a cold start has one
        ("InvocationsPerInstance", "AWS/SageMaker"),
        ("InvocationModelErrors", "AWS/SageMaker"),
        ("LoadedModelCount", INSTANCE),
        ("DiskUtilization", INSTANCE),
    ):
        assert read(local, namespace, metric, name)["SampleCount"] == 0, metric


def test_a_cold_start_is_measured(local: Local, serverless: Host) -> None:
    name = serverless()
    for _ in range(3):
        local.invoke(name, None)
    setup = wait_for_samples(local, "ModelSetupTime", name, 1)
    overhead = wait_for_samples(local, "OverheadLatency", name, 3)
    assert (setup["SampleCount"], setup["Unit"]) == (1, "Microseconds")
    assert overhead["Maximum"] >= setup["Maximum"] > 0
    exported = httpx.get(f"{local.emulator.url}/_polyhost/metrics", trust_env=False).text
    assert f'polyhost_model_setup_seconds_count{{endpoint="{name}"' in exported


def test_the_containers_output_is_in_the_logs(local: Local, serverless: Host) -> None:
    name = serverless(settings={"prints": True})
    local.invoke(name, None)
    (container,) = variant_state(local, name)["instances"]
    logs = local.emulator.client("logs", REGION)
    group, stream = f"/aws/sagemaker/Endpoints/{name}", f"AllTraffic/{container['id']}"

    def printed() -> bool:
        try:
            events = logs.get_log_events(logGroupName=group, logStreamName=stream)["events"]
        except logs.exceptions.ResourceNotFoundException:
            return False
        return any("invoked one" in event["message"] for event in events)

    wait_for(printed, "the container's output", 60)


def test_the_memory_limit_is_that_of_the_configuration(local: Local, serverless: Host) -> None:
    probe = OwnControlGroup.make(f"probe-{os.getpid()}", 1 << 30)
    if probe is None:
        pytest.skip("a control group cannot be made here; that needs root")
    probe.remove()
    name = serverless(MemorySizeInMB=2048)
    local.invoke(name, None)
    (container,) = variant_state(local, name)["instances"]
    (group,) = OwnControlGroup.named(f"*{container['id']}*")
    assert (group.limit(), container["memory_limit"]) == (2 << 30, 2 << 30)
