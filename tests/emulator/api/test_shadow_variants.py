"""Shadow variants as clients see them: a copy of the calls reaches them, and nothing comes back."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError
from prometheus_client.parser import text_string_to_metric_families

from polyhost.emulator.hosting.shadow_copies import MAX_COPIES
from tests.emulator.archives import archive
from tests.emulator.conftest import REGION, Local
from tests.support.waiting import wait_for

ENDPOINT = "shadowed"


@dataclass
class Shadowed:
    """An endpoint with production variant `live` and shadow variant `candidate`.

    The candidate responds while the file `mark` exists.
    """

    local: Local
    name: str
    mark: Path

    def invoke(self, **members: Any) -> Any:
        """Return the response, which must be the production variant's."""
        response = self.local.runtime.invoke_endpoint(EndpointName=self.name, Body=b"four", **members)
        assert response["InvokedProductionVariant"] == "live"
        assert json.loads(response["Body"].read())["name"] == "live"
        return response

    def samples(self, name: str) -> dict[str, float]:
        """Return a metric's samples by variant, as Prometheus reads them."""
        text = httpx.get(f"{self.local.emulator.url}/_polyhost/metrics", trust_env=False).text
        return {
            sample.labels["variant"]: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if (sample.name, sample.labels.get("endpoint")) == (name, self.name)
        }

    def copies(self) -> float:
        """Return how many copies the shadow variant has answered, or failed on."""
        return self.samples("polyhost_invocations_total").get("candidate", 0)

    def metric(self, name: str, variant: str) -> float:
        """Return a metric's sum in CloudWatch."""
        now = datetime.now(UTC)
        points = self.local.emulator.client("cloudwatch", REGION).get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=name,
            Dimensions=[{"Name": "EndpointName", "Value": self.name}, {"Name": "VariantName", "Value": variant}],
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(minutes=1),
            Period=3600,
            Statistics=["Sum"],
        )["Datapoints"]
        return float(sum(point["Sum"] for point in points))

    def logged(self) -> list[str]:
        """Return what the shadow variant's container has printed of its invocations."""
        logs = self.local.emulator.client("logs", REGION)
        group = f"/aws/sagemaker/Endpoints/{self.name}"
        found = logs.filter_log_events(logGroupName=group, logStreamNamePrefix="candidate/")["events"]
        return [event["message"] for event in found if event["message"].startswith("invoked candidate")]

    def add_fault(self, **members: Any) -> None:
        url = f"{self.local.emulator.url}/_polyhost/faults"
        httpx.post(url, json=members | {"endpoint": self.name}, trust_env=False).raise_for_status()

    def set_weight(self, weight: float) -> None:
        desired = [{"VariantName": "candidate", "DesiredWeight": weight}]
        self.local.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=self.name, DesiredWeightsAndCapacities=desired
        )
        self.local.wait(self.name)


@contextmanager
def _hosted(local: Local, name: str, folder: Path) -> Iterator[Shadowed]:
    mark = folder / "respond"
    mark.touch()
    variants: dict[str, dict[str, Any]] = {}
    for number, (role, settings) in enumerate(
        (("live", {}), ("candidate", {"prints": True, "invoke_mark": str(mark)}))
    ):
        key = f"{name}-{number}"
        local.s3.put_object(Bucket="models", Key=f"{key}/model.tar.gz", Body=archive(role, **settings))
        local.model(key, multi_model=False)
        capacity = {"InstanceType": "ml.m5.xlarge", "InitialInstanceCount": 1}
        variants[role] = {"VariantName": role, "ModelName": key, "InitialVariantWeight": 1} | capacity
    local.sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[variants["live"]],
        ShadowProductionVariants=[variants["candidate"]],
    )
    local.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    local.wait(name)
    yield Shadowed(local, name, mark)
    local.delete(name, *(variant["ModelName"] for variant in variants.values()))


@pytest.fixture(scope="module")
def shadowed(local: Local, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shadowed]:
    with _hosted(local, ENDPOINT, tmp_path_factory.mktemp("shadow")) as endpoint:
        yield endpoint


def test_calls_are_copied_and_only_production_answers(shadowed: Shadowed) -> None:
    for number in range(3):
        shadowed.invoke(ContentType="text/csv", CustomAttributes=f"trace={number}")
    wait_for(lambda: shadowed.copies() == 3, "three copies")
    wait_for(lambda: shadowed.metric("Invocations", "candidate") == 3, "the shadow variant's metrics")
    assert shadowed.metric("Invocations", "live") == 3
    assert shadowed.metric("ModelLatency", "candidate") > 0
    assert shadowed.metric("InvocationModelErrors", "candidate") == 0
    wait_for(lambda: len(shadowed.logged()) == 3, "the shadow variant's log")
    seen = [json.loads(line.removeprefix("invoked candidate ")) for line in shadowed.logged()]
    assert {item["headers"]["x-amzn-sagemaker-custom-attributes"] for item in seen} == {"trace=0", "trace=1", "trace=2"}
    assert {(item["length"], item["headers"]["content-type"]) for item in seen} == {(4, "text/csv")}


def test_streams_are_copied(shadowed: Shadowed) -> None:
    before = shadowed.copies()
    response = shadowed.local.runtime.invoke_endpoint_with_response_stream(EndpointName=shadowed.name, Body=b"?")
    content = b"".join(event["PayloadPart"]["Bytes"] for event in response["Body"])
    assert json.loads(content)["name"] == "live"
    wait_for(lambda: shadowed.copies() == before + 1, "a copy")


def test_weight_is_the_share_of_the_calls(shadowed: Shadowed) -> None:
    before = shadowed.copies()
    shadowed.set_weight(0)
    for _ in range(5):
        shadowed.invoke()
    shadowed.set_weight(1)
    shadowed.invoke()
    wait_for(lambda: shadowed.copies() > before, "a copy")
    assert shadowed.copies() == before + 1


def test_a_shadow_variant_is_no_target(shadowed: Shadowed) -> None:
    shadowed.invoke(TargetVariant="live")
    with pytest.raises(ClientError) as caught:
        shadowed.invoke(TargetVariant="candidate")
    assert caught.value.response["Error"] == {
        "Code": "ValidationError",
        "Message": f"Variant candidate not found for endpoint {shadowed.name}.",
    }


def test_failures_of_a_shadow_variant_are_logged_and_counted(
    shadowed: Shadowed, caplog: pytest.LogCaptureFixture
) -> None:
    before = shadowed.copies()
    shadowed.add_fault(kind="time-out", variant="candidate", count=2)
    with caplog.at_level(logging.WARNING, "polyhost.emulator.api.shadow_traffic"):
        shadowed.invoke()
        shadowed.invoke()
        wait_for(lambda: shadowed.copies() == before + 2, "two copies")
    wait_for(lambda: shadowed.metric("InvocationModelErrors", "candidate") == 2, "the shadow variant's metrics")
    assert shadowed.metric("InvocationModelErrors", "live") == 0
    assert "endpoint shadowed: shadow variant candidate failed on a copy with ModelError" in caplog.text

    before = shadowed.copies()
    shadowed.add_fault(kind="error", code="ServiceUnavailable", variant="candidate")
    shadowed.invoke()  # its copy ends before the container
    shadowed.invoke()
    wait_for(lambda: shadowed.copies() > before, "a copy")
    assert shadowed.copies() == before + 1

    shadowed.add_fault(kind="kill-container", variant="candidate")
    before = shadowed.copies()
    shadowed.invoke()
    wait_for(lambda: shadowed.copies() > before, "a copy to the next container")


def test_faults_that_name_no_variant_are_for_clients(shadowed: Shadowed) -> None:
    shadowed.add_fault(kind="time-out", count=2)
    for _ in range(2):
        with pytest.raises(ClientError, match="timed out"):
            shadowed.invoke()
    shadowed.invoke()


def test_a_slow_shadow_variant_gets_fewer_copies(shadowed: Shadowed, caplog: pytest.LogCaptureFixture) -> None:
    wait_for(lambda: _shadow_state(shadowed)["copies_in_flight"] == 0, "the end of all copies")
    before = shadowed.copies()
    shadowed.mark.unlink()
    with caplog.at_level(logging.WARNING, "polyhost.emulator.api.shadow_traffic"):
        for _ in range(MAX_COPIES + 3):
            shadowed.invoke()  # answered all the same
    assert shadowed.samples("polyhost_shadow_copies_dropped_total") == {"candidate": 3}
    assert "shadow variant candidate is slower than the traffic" in caplog.text
    shadowed.mark.touch()
    wait_for(lambda: shadowed.copies() == before + MAX_COPIES, "the other copies")
    shadowed.invoke()
    wait_for(lambda: shadowed.copies() == before + MAX_COPIES + 1, "a copy")
    assert shadowed.metric("ShadowCopiesDropped", "candidate") == 0  # AWS has no such metric


def test_deletion_withdraws_copies(local: Local, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with _hosted(local, "shadow-leaving", tmp_path) as endpoint:
        endpoint.mark.unlink()
        endpoint.invoke()
        wait_for(lambda: _shadow_state(endpoint)["instances"][0]["outstanding"] == 1, "a copy in the container")
    assert endpoint.samples("polyhost_invocations_total") == {}
    assert "shadow variant" not in caplog.text  # it has not failed


def _shadow_state(shadowed: Shadowed) -> Any:
    """Return what the dashboard gets of the shadow variant, which is shown as one."""
    state = httpx.get(f"{shadowed.local.emulator.url}/_polyhost/state", trust_env=False).json()
    (endpoint,) = (item for item in state["endpoints"] if item["name"] == shadowed.name)
    shown = [(item["name"], item["shadow"], item["share"]) for item in endpoint["variants"]]
    assert shown == [("live", False, 1.0), ("candidate", True, 1.0)]
    return endpoint["variants"][1]
