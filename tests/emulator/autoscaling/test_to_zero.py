"""An asynchronous endpoint without work has no instances, and gets one back when work comes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.emulator.async_inference.harness import AsyncEndpoint, async_endpoint
from tests.emulator.autoscaling.harness import WAIT_S, ScaledEndpoint
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow


def test_an_asynchronous_endpoint_goes_to_zero_and_back(scaled: Callable[..., ScaledEndpoint], tmp_path: Path) -> None:
    endpoint, mark = scaled("to-zero"), tmp_path / "go"
    hosted = async_endpoint(endpoint.local, "to-zero", 1, {"invoke_mark": str(mark)}, per_instance=1)
    invocations: AsyncEndpoint = hosted.__enter__()
    endpoint.register(0, 3)
    dimensions = [{"Name": "EndpointName", "Value": "to-zero"}]
    metric = {"Namespace": "AWS/SageMaker", "MetricName": "ApproximateBacklogSizePerInstance", "Statistic": "Average"}
    endpoint.track(2, metric | {"Dimensions": dimensions})
    endpoint.wait_for_count(0)

    endpoint.alarms.put(
        MetricName="HasBacklogWithoutCapacity",
        Namespace="AWS/SageMaker",
        Statistic="Average",
        Dimensions=dimensions,
        Threshold=1.0,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="missing",
        AlarmActions=[endpoint.step(1, "wake")],
    )
    responses = [invocations.invoke() for _ in range(6)]
    endpoint.wait_for_count(3)  # one by the step, the others by the backlog of each instance
    mark.touch()
    assert {invocations.answer(response)["name"] for response in responses} == {"one"}
    endpoint.wait_for_count(0)
    wait_for(lambda: invocations.queue() == (0, 0), "an empty queue", WAIT_S)
    assert any(activity["Cause"].endswith("triggered policy wake") for activity in endpoint.activities())
