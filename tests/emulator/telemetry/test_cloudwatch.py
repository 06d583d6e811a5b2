"""Metrics of endpoints in CloudWatch, as a client reads them."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from polyhost.emulator.telemetry import cloudwatch
from tests.emulator.conftest import REGION, Local

ENDPOINT, INSTANCE = "AWS/SageMaker", "/aws/sagemaker/Endpoints"
Hosted = Callable[..., str]


def read(local: Local, namespace: str, metric: str, endpoint: str, variant: str = "AllTraffic") -> dict[str, Any]:
    now = datetime.now(UTC)
    points = local.emulator.client("cloudwatch", REGION).get_metric_statistics(
        Namespace=namespace,
        MetricName=metric,
        Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}],
        StartTime=now - timedelta(minutes=10),
        EndTime=now + timedelta(minutes=1),
        Period=3600,
        Statistics=["Sum", "SampleCount", "Minimum", "Maximum", "Average"],
    )["Datapoints"]
    return points[0] if points else {"SampleCount": 0}


def wait_for_samples(
    local: Local, metric: str, endpoint: str, samples: int, namespace: str = ENDPOINT
) -> dict[str, Any]:
    """Return the metric once it has this many samples."""
    deadline = time.monotonic() + 15
    while (found := read(local, namespace, metric, endpoint))["SampleCount"] < samples:
        assert time.monotonic() < deadline, f"{metric}: {found}"
        time.sleep(0.1)
    return found


def test_invocations_loads_and_cache_hits_are_published(local: Local, hosted: Hosted) -> None:
    endpoint = hosted("a", "b", count=2)
    for model in ("a", "a", "a", "b"):
        local.invoke(endpoint, model)
    for metric, total, unit in (
        ("Invocations", 4, "None"),
        ("InvocationsPerInstance", 2, "None"),
        ("Invocation4XXErrors", 0, "None"),
        ("Invocation5XXErrors", 0, "None"),
        ("InvocationModelErrors", 0, "None"),
        ("ModelCacheHit", 2, "None"),
    ):
        found = wait_for_samples(local, metric, endpoint, 4)
        assert (found["SampleCount"], found["Sum"], found["Unit"]) == (4, total, unit), metric
    for metric, samples in (
        ("ModelLatency", 4),
        ("OverheadLatency", 4),
        ("ModelLoadingWaitTime", 2),
        ("ModelDownloadingTime", 2),
        ("ModelLoadingTime", 2),
    ):
        found = wait_for_samples(local, metric, endpoint, samples)
        assert found["SampleCount"] == samples and found["Unit"] == "Microseconds", metric
        assert 0 <= found["Minimum"] <= found["Average"] <= found["Maximum"] <= found["Sum"], metric


def test_errors_and_unloads_are_published(local: Local, hosted: Hosted) -> None:
    endpoint = hosted("a", environment={"SMALL_CAPACITY": "1"})
    local.upload(endpoint, "four", status=400)
    local.upload(endpoint, "five", status=500)
    local.invoke(endpoint, "a")
    for model in ("four", "five"):
        with pytest.raises(ClientError):
            local.invoke(endpoint, model)
    for metric, total in (("Invocation4XXErrors", 1), ("Invocation5XXErrors", 1), ("InvocationModelErrors", 2)):
        assert wait_for_samples(local, metric, endpoint, 3)["Sum"] == total, metric
    assert wait_for_samples(local, "ModelUnloadingTime", endpoint, 2)["Unit"] == "Microseconds"


def test_instance_metrics_are_published(local: Local, hosted: Hosted) -> None:
    endpoint = hosted("a", count=2)
    local.invoke(endpoint, "a")
    deadline = time.monotonic() + 15
    while read(local, INSTANCE, "LoadedModelCount", endpoint).get("Maximum") != 1:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for metric in ("MemoryUtilization", "DiskUtilization"):
        found = wait_for_samples(local, metric, endpoint, 2, INSTANCE)
        assert found["Unit"] == "Percent" and 0 <= found["Minimum"] <= found["Maximum"] <= 100, metric
    # Percent of one core: more than 100 with several cores.
    assert wait_for_samples(local, "CPUUtilization", endpoint, 2, INSTANCE)["Unit"] == "Percent"


def test_remove_metrics_keeps_other_namespaces(local: Local, hosted: Hosted) -> None:
    endpoint = hosted("a")
    local.invoke(endpoint, "a")
    wait_for_samples(local, "Invocations", endpoint, 1)
    client = local.emulator.client("cloudwatch", REGION)
    client.put_metric_data(Namespace="Mine", MetricData=[{"MetricName": "Kept", "Value": 1}])
    cloudwatch.remove_metrics(REGION, datetime.now(UTC) + timedelta(minutes=5))
    assert read(local, ENDPOINT, "Invocations", endpoint)["SampleCount"] == 0
    assert [metric["MetricName"] for metric in client.list_metrics(Namespace="Mine")["Metrics"]] == ["Kept"]
