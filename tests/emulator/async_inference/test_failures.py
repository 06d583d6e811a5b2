"""Failures of asynchronous invocations: each ends in a notification, an object and a metric, never in silence."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from tests.emulator.async_inference.harness import BUCKET, AsyncEndpoint, Topic, async_endpoint
from tests.emulator.conftest import REGION, Local
from tests.support.waiting import wait_for

FAILURES = f"s3://{BUCKET}/failed"


@pytest.fixture(scope="module")
def errors(local: Local) -> Topic:
    return Topic(local, "async-errors")


def _to(errors: Topic) -> dict[str, Any]:
    topics = {"ErrorTopic": errors.arn, "IncludeInferenceResponseIn": ["ERROR_NOTIFICATION_TOPIC"]}
    return {"NotificationConfig": topics, "S3FailurePath": FAILURES}


def _fault(endpoint: AsyncEndpoint, kind: str) -> None:
    url = f"{endpoint.local.emulator.url}/_polyhost/faults"
    httpx.post(url, json={"kind": kind, "endpoint": endpoint.name}, trust_env=False).raise_for_status()


@pytest.fixture(scope="module")
def healthy(local: Local, errors: Topic) -> Iterator[AsyncEndpoint]:
    with async_endpoint(local, "async-healthy", **_to(errors)) as endpoint:
        yield endpoint


@pytest.mark.parametrize(("status", "side"), [(400, "client"), (503, "server")])
def test_an_error_of_the_model(local: Local, errors: Topic, status: int, side: str) -> None:
    with async_endpoint(local, f"async-answers-{status}", settings={"status": status}, **_to(errors)) as endpoint:
        response = endpoint.invoke(InferenceId=f"answers-{status}")
        message = errors.wait_for_result(f"answers-{status}")
        assert message["invocationStatus"] == "Failed"
        assert message["failureReason"] == (
            f"ClientError: Received {side} error ({status}) from model. See the SageMaker Endpoint logs in your account"
            " for more information."
        )
        stored = endpoint.wait_for_object(response["FailureLocation"])
        assert json.loads(stored["Content"])["name"] == "one"  # what the container responded
        assert stored["ContentType"] == "application/json"
        assert base64.b64decode(message["responseBody"]["content"]) == stored["Content"]
        assert message["responseParameters"]["failureLocation"] == response["FailureLocation"]
        wait_for(lambda: endpoint.metric("InvocationFailures") == 1, "the metric", 60)
        assert endpoint.metric(f"Invocation{status // 100}XXErrors") == 1
        assert endpoint.metric("InvocationsProcessed") == 1
        (line,) = wait_for(endpoint.log, "the log", 60)
        assert f'[answers-{status}] Received {side} error ({status}) from primary with message "' in line
        (event,) = endpoint.events("failed")
        assert event.startswith(f"asynchronous invocation answers-{status}: Received {side} error ({status})")


def test_an_invocation_that_takes_too_long(local: Local, errors: Topic) -> None:
    with async_endpoint(local, "async-slow", settings={"invoke_seconds": 30}, **_to(errors)) as endpoint:
        response = endpoint.invoke(InferenceId="late", InvocationTimeoutSeconds=1)
        reason = errors.wait_for_result("late")["failureReason"]
        assert reason.startswith("ClientError: Your invocation timed out while waiting for a response from container")
        assert endpoint.wait_for_object(response["FailureLocation"])["Content"].decode() == reason


def test_a_container_that_ends_during_an_invocation(local: Local, errors: Topic) -> None:
    with async_endpoint(local, "async-exits", settings={"exit": 3}, **_to(errors)) as endpoint:
        endpoint.invoke(InferenceId="exits")
        reason = errors.wait_for_result("exits")["failureReason"]
        assert reason.startswith("ClientError: Amazon SageMaker could not get a response from the async-exits endpoint")


def test_faults_on_demand(healthy: AsyncEndpoint, errors: Topic) -> None:
    _fault(healthy, "time-out")
    healthy.invoke(InferenceId="fault")
    assert "timed out" in errors.wait_for_result("fault")["failureReason"]
    _fault(healthy, "kill-container")
    response = healthy.invoke()
    # If the container had not got the request, the next one does.
    places = (response["OutputLocation"], response["FailureLocation"])
    wait_for(lambda: any(healthy.object_at(place) for place in places), "an answer or a failure", 60)
    healthy.answer(healthy.invoke())


def test_an_output_that_cannot_be_written(local: Local, errors: Topic) -> None:
    config = _to(errors) | {"S3OutputPath": "s3://no-such-bucket/out"}
    with async_endpoint(local, "async-no-output", **config) as endpoint:
        response = endpoint.invoke(InferenceId="unwritten")
        assert response["OutputLocation"].startswith("s3://no-such-bucket/out/")
        reason = errors.wait_for_result("unwritten")["failureReason"]
        assert reason.startswith("ClientError: Failed to upload the response: there is no bucket no-such-bucket")
        assert endpoint.wait_for_object(response["FailureLocation"])["Content"].decode() == reason
        wait_for(lambda: endpoint.metric("ResponseUploadFailures") == 1, "the metric", 60)


def test_a_failure_that_cannot_be_written(local: Local, errors: Topic) -> None:
    config = _to(errors) | {"S3FailurePath": "s3://no-such-bucket/failed"}
    with async_endpoint(local, "async-no-failure", settings={"status": 500}, **config) as endpoint:
        endpoint.invoke(InferenceId="unwritten-failure")
        message = errors.wait_for_result("unwritten-failure")
        assert "responseParameters" not in message
        assert any(
            "The failure could not be written to S3: there is no bucket" in event for event in endpoint.events("failed")
        )


def test_a_notification_that_cannot_be_sent(local: Local) -> None:
    topic = Topic(local, "async-short-lived")
    with async_endpoint(local, "async-no-topic", NotificationConfig={"SuccessTopic": topic.arn}) as endpoint:
        local.emulator.client("sns", REGION).delete_topic(TopicArn=topic.arn)
        endpoint.answer(endpoint.invoke(InferenceId="unsent"))  # is answered all the same
        wait_for(lambda: endpoint.metric("NotificationFailures") == 1, "the metric", 60)
        assert endpoint.metric("InvocationFailures") is None
        (event,) = endpoint.events("failed")
        assert event.startswith("asynchronous invocation unsent: The notification failed: cannot publish to the topic")
        with pytest.raises(ClientError, match="The test notification failed: cannot publish to the topic"):
            endpoint.resize(2)


def test_without_a_path_the_response_is_in_the_notification(local: Local, errors: Topic) -> None:
    success = Topic(local, "async-by-topic")
    topics = {"SuccessTopic": success.arn, "ErrorTopic": errors.arn}
    config: dict[str, Any] = {
        "S3OutputPath": None,
        "NotificationConfig": topics | {"IncludeInferenceResponseIn": ["SUCCESS_NOTIFICATION_TOPIC"]},
    }
    with async_endpoint(local, "async-by-topic", settings={"quotes": True, "padding": 4096}, **config) as endpoint:
        assert "OutputLocation" not in endpoint.invoke(Body=b"small", InferenceId="small")
        message = success.wait_for_result("small")
        assert json.loads(base64.b64decode(message["responseBody"]["content"]))["body"] == "small"
        assert message["responseParameters"] == {"contentType": "application/json"}
        endpoint.invoke(Body=b"x" * 128_000, InferenceId="large")
        assert "larger than the 131072 bytes" in errors.wait_for_result("large")["failureReason"]


def test_without_any_place_the_sdks_bucket_is_the_default(local: Local) -> None:
    bucket = f"sagemaker-{REGION}-123456789012"
    local.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    with async_endpoint(local, "async-default", S3OutputPath=None) as endpoint:
        response = endpoint.invoke()
        prefix = f"s3://{bucket}/async-endpoint-outputs/async-default/"
        assert response["OutputLocation"].startswith(prefix)
        endpoint.answer(response)
