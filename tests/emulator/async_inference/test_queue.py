"""The queue of an endpoint: its limits, its order, and what changes of the endpoint mean for it."""

from pathlib import Path

import pytest

from tests.emulator.async_inference.harness import AsyncEndpoint, async_endpoint
from tests.emulator.conftest import Local
from tests.support.waiting import wait_for


def _outstanding(endpoint: AsyncEndpoint) -> list[int]:
    (variant,) = endpoint.state()["variants"]
    return [instance["outstanding"] for instance in variant["instances"]]


def test_an_instance_gets_a_limited_number_at_a_time(local: Local, tmp_path: Path) -> None:
    mark = tmp_path / "go"
    with async_endpoint(local, "async-limited", 2, {"invoke_mark": str(mark)}, per_instance=2) as endpoint:
        responses = [endpoint.invoke() for _ in range(7)]
        wait_for(lambda: _outstanding(endpoint) == [2, 2], "two for each instance", 60)
        assert endpoint.queue() == (3, 4)
        assert endpoint.state()["queue"]["per_instance"] == 2
        assert endpoint.state()["queue"]["oldest_s"] > 0
        wait_for(lambda: endpoint.metric("ApproximateBacklogSize", "Maximum", None) == 7, "the backlog", 60)
        assert endpoint.metric("ApproximateBacklogSizePerInstance", "Maximum", None) == 3.5
        assert endpoint.metric("HasBacklogWithoutCapacity", "Maximum", None) == 0
        mark.touch()
        assert {endpoint.answer(response)["name"] for response in responses} == {"one"}
        wait_for(lambda: endpoint.queue() == (0, 0), "an empty queue", 60)


def test_invocations_wait_while_there_are_no_instances(local: Local) -> None:
    with async_endpoint(local, "async-none") as endpoint:
        endpoint.resize(0)
        responses = [endpoint.invoke() for _ in range(3)]
        wait_for(lambda: endpoint.metric("HasBacklogWithoutCapacity", "Maximum", None) == 1, "the metric", 60)
        assert endpoint.queue() == (3, 0)
        assert endpoint.object_at(responses[0]["OutputLocation"]) is None
        endpoint.resize(1)
        for response in responses:
            endpoint.answer(response)


def test_an_update_leaves_the_queue(local: Local) -> None:
    """What is queued is answered by the new instances, also after the endpoint has become a real-time one."""
    with async_endpoint(local, "async-updated") as endpoint:
        endpoint.resize(0)
        first = endpoint.invoke()
        local.config("async-updated-2", model=endpoint.name)
        local.sagemaker.update_endpoint(EndpointName=endpoint.name, EndpointConfigName="async-updated-2")
        local.wait(endpoint.name)
        assert endpoint.answer(first)["name"] == "one"
        assert local.invoke(endpoint.name, None)["InvokedProductionVariant"] == "AllTraffic"
        local.sagemaker.update_endpoint(EndpointName=endpoint.name, EndpointConfigName=endpoint.name)
        local.wait(endpoint.name)
        endpoint.answer(endpoint.invoke())


def test_an_invocation_whose_instance_is_stopped_is_run_again(
    local: Local, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polyhost.emulator.hosting.fleet.DRAIN_S", 0.1)  # does not let it finish
    mark = tmp_path / "go"
    with async_endpoint(local, "async-stopped", settings={"invoke_mark": str(mark)}) as endpoint:
        response = endpoint.invoke(InferenceId="again")
        wait_for(lambda: _outstanding(endpoint) == [1], "an invocation in the container", 60)
        endpoint.resize(0)
        wait_for(lambda: endpoint.queue() == (1, 0), "the invocation in the queue", 60)
        (message,) = endpoint.events("queue")
        assert message.startswith("asynchronous invocation again is run again: instance i-")
        mark.touch()
        endpoint.resize(1)
        endpoint.answer(response)
        wait_for(lambda: any("[again] The request is run again" in line for line in endpoint.log()), "the log", 60)


def test_the_queue_ends_with_its_endpoint(local: Local) -> None:
    with async_endpoint(local, "async-deleted") as endpoint:
        endpoint.resize(0)
        responses = [endpoint.invoke() for _ in range(2)]
    (message,) = wait_for(lambda: endpoint.events("queue"), "an event", 60)
    assert message == "asynchronous invocations that ended with their endpoint, unanswered: 2"
    with async_endpoint(local, endpoint.name) as other:
        other.answer(other.invoke())
        assert all(other.object_at(response["OutputLocation"]) is None for response in responses)
