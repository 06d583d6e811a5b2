"""Asynchronous invocations as a client sees them: the answer, its place in S3, notifications, metrics and logs."""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tests.emulator.async_inference.harness import BUCKET, AsyncEndpoint, Topic, async_endpoint
from tests.emulator.conftest import REGION, Local
from tests.support.waiting import wait_for

NAME = "async-plain"


@dataclass
class Notified:
    """An endpoint with two topics and a path for failures."""

    endpoint: AsyncEndpoint
    success: Topic
    error: Topic


@pytest.fixture(scope="module")
def notified(local: Local) -> Iterator[Notified]:
    success, error = Topic(local, f"{NAME}-success"), Topic(local, f"{NAME}-error")
    topics = {"SuccessTopic": success.arn, "ErrorTopic": error.arn}
    both = ["SUCCESS_NOTIFICATION_TOPIC", "ERROR_NOTIFICATION_TOPIC"]
    failures = {"S3FailurePath": f"s3://{BUCKET}/{NAME}/failed/"}
    config: dict[str, Any] = {"NotificationConfig": topics | {"IncludeInferenceResponseIn": both}, **failures}
    with async_endpoint(local, NAME, settings={"quotes": True, "padding": 4096}, **config) as endpoint:
        yield Notified(endpoint, success, error)


def test_an_invocation_is_answered_in_s3_and_by_a_notification(notified: Notified) -> None:
    endpoint = notified.endpoint
    location = endpoint.put_input(b"5.1,3.5")
    headers = {"ContentType": "text/csv", "Accept": "application/json", "CustomAttributes": "trace=1"}
    response = endpoint.invoke(location, InferenceId="id-1", **headers)
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert response["InferenceId"] == "id-1"
    assert re.fullmatch(rf"s3://{BUCKET}/{NAME}/out/[0-9a-f-]{{36}}\.out", response["OutputLocation"])
    assert re.fullmatch(rf"s3://{BUCKET}/{NAME}/failed/[0-9a-f-]{{36}}-error\.out", response["FailureLocation"])

    stored = endpoint.wait_for_object(response["OutputLocation"])
    assert stored["ContentType"] == "application/json"
    answer = json.loads(stored["Content"])
    assert answer["body"] == "5.1,3.5"
    seen = answer["headers"]
    assert (seen["content-type"], seen["accept"]) == ("text/csv", "application/json")
    assert seen["x-amzn-sagemaker-custom-attributes"] == "trace=1"
    assert seen["content-length"] == "7"
    assert not any(name in seen for name in ("content-disposition", "transfer-encoding", "user-agent"))

    message = notified.success.wait_for_result("id-1")
    for name in ("eventTime", "receivedTime"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", message.pop(name))
    body = message.pop("responseBody")
    assert base64.b64decode(body.pop("content")) == stored["Content"]
    assert body["encoding"] == "BASE64"
    assert message == {
        "awsRegion": REGION,
        "invocationStatus": "Completed",
        "requestParameters": {
            "accept": "application/json",
            "contentType": "text/csv",
            "customAttributes": "trace=1",
            "endpointName": NAME,
            "inputLocation": location,
        },
        "responseParameters": {"contentType": "application/json", "outputLocation": response["OutputLocation"]},
        "inferenceId": "id-1",
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }
    assert notified.error.results() == []


def test_topics_get_a_test_when_the_endpoint_is_created(notified: Notified) -> None:
    test = {"eventVersion": "1.0", "eventSource": "aws:sagemaker", "eventName": "TestNotification"}
    for topic in (notified.success, notified.error):
        wait_for(partial(_has_seen, topic, test), "the test", 60)


def _has_seen(topic: Topic, message: dict[str, Any]) -> bool:
    topic.results()
    return message in topic.seen


def test_a_body_may_come_with_the_request(notified: Notified) -> None:
    response = notified.endpoint.invoke(Body=b"x" * 128_000, InferenceId="inline")
    assert notified.endpoint.answer(response)["length"] == 128_000
    message = notified.success.wait_for_result("inline")
    assert "inputLocation" not in message["requestParameters"]
    assert "responseBody" not in message  # it quotes the request, and is too large


def test_the_client_chooses_the_outputs_name(notified: Notified) -> None:
    response = notified.endpoint.invoke(S3OutputPathExtension="today/", Filename="digits.json")
    assert response["OutputLocation"] == f"s3://{BUCKET}/{NAME}/out/today/digits.json"
    assert notified.endpoint.answer(response)["name"] == "one"


def test_an_input_that_is_missing_fails(notified: Notified) -> None:
    location = f"s3://{BUCKET}/{NAME}/in/none"
    response = notified.endpoint.invoke(location, InferenceId="no-input")
    message = notified.error.wait_for_result("no-input")
    reason = f"ClientError: Failed to download the request payload: there is no object at {location}; "
    assert message["failureReason"].startswith(reason)
    assert message["invocationStatus"] == "Failed"
    stored = notified.endpoint.wait_for_object(response["FailureLocation"])
    assert stored["Content"].decode() == message["failureReason"]
    assert message["responseParameters"] == {
        "contentType": "text/plain; charset=utf-8",
        "failureLocation": response["FailureLocation"],
    }
    assert base64.b64decode(message["responseBody"]["content"]) == stored["Content"]
    assert notified.endpoint.object_at(response["OutputLocation"]) is None
    wait_for(lambda: notified.endpoint.metric("RequestDownloadFailures") == 1, "the metric", 60)


def test_metrics_and_logs_tell_of_each_invocation(local: Local) -> None:
    with async_endpoint(local, "async-measured") as endpoint:
        for number in range(3):
            endpoint.answer(endpoint.invoke(InferenceId=f"m-{number}"))
        wait_for(lambda: endpoint.metric("InvocationsProcessed") == 3, "the metrics", 60)
        for name in ("ModelLatency", "RequestDownloadLatency", "ResponseUploadLatency"):
            assert endpoint.metric(name, "SampleCount") == 3, name
            assert endpoint.metric(name, "Average"), name
        for name in ("TimeInBacklog", "TotalProcessingTime"):
            assert endpoint.metric(name, "SampleCount") == 3, name
        for name in ("Invocation4XXErrors", "Invocation5XXErrors"):
            assert endpoint.metric(name, "Sum") == 0
        for name in ("Invocations", "InvocationsPerInstance", "OverheadLatency", "InvocationFailures"):
            assert endpoint.metric(name) is None, name  # AWS does not publish them
        for name in ("ApproximateBacklogSize", "ApproximateBacklogSizePerInstance", "HasBacklogWithoutCapacity"):
            minimum = partial(endpoint.metric, name, "Minimum", None)
            wait_for(lambda: minimum() == 0, name, 60)  # noqa: B023 - called at once
        lines = wait_for(lambda: len(endpoint.log()) == 3 and endpoint.log(), "the log", 60)
        assert {re.findall(r"\[(m-\d)\]", line)[0] for line in lines} == {"m-0", "m-1", "m-2"}
        assert (
            "[sagemaker logs] [m-0] Inference request succeeded. RequestDownloadLatency in microseconds: " in lines[0]
        )
