"""An asynchronous endpoint of small containers, and what most tests do with it."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.emulator.archives import archive
from tests.emulator.conftest import REGION, Local
from tests.support.waiting import wait_for

BUCKET = "models"  # of the emulator's own S3; a test's objects are below its endpoint's name


@dataclass
class Topic:
    """A topic of SNS, seen by a queue of SQS that is subscribed to it."""

    local: Local
    name: str
    arn: str = field(init=False)
    seen: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        client = self.local.emulator.client
        self._sqs, sns = client("sqs", REGION), client("sns", REGION)
        self.arn = sns.create_topic(Name=self.name)["TopicArn"]
        self._queue = self._sqs.create_queue(QueueName=self.name)["QueueUrl"]
        queue_arn = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"]
        sns.subscribe(TopicArn=self.arn, Protocol="sqs", Endpoint=queue_arn["QueueArn"])

    def results(self) -> list[dict[str, Any]]:
        """Return the notifications of results until now, without the tests."""
        for message in self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages", []):
            self.seen.append(json.loads(json.loads(message["Body"])["Message"]))
            self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return [message for message in self.seen if message["eventName"] == "InferenceResult"]

    def wait_for_result(self, inference_id: str) -> dict[str, Any]:
        """Return the notification of one invocation."""

        def found() -> list[dict[str, Any]]:
            return [message for message in self.results() if message["inferenceId"] == inference_id]

        (message,) = wait_for(found, f"a notification of {inference_id} at {self.name}", 60)
        return dict(message)


@dataclass
class AsyncEndpoint:
    """An endpoint in service."""

    local: Local
    name: str

    def put_input(self, content: bytes = b"four", key: str | None = None) -> str:
        """Upload an input, and return its address."""
        key = f"{self.name}/in/{key or uuid.uuid4()}"
        self.local.s3.put_object(Bucket=BUCKET, Key=key, Body=content)
        return f"s3://{BUCKET}/{key}"

    def invoke(self, location: str | None = None, **members: Any) -> dict[str, Any]:
        """Return the response to InvokeEndpointAsync."""
        input_ = {} if "Body" in members else {"InputLocation": location or self.put_input()}
        response: dict[str, Any] = self.local.runtime.invoke_endpoint_async(EndpointName=self.name, **input_, **members)
        return response

    def object_at(self, location: str) -> dict[str, Any] | None:
        """Return an object, with its content under `Content`, or None if it does not exist."""
        bucket, _, key = location.removeprefix("s3://").partition("/")
        try:
            found = self.local.s3.get_object(Bucket=bucket, Key=key)
        except self.local.s3.exceptions.NoSuchKey:
            return None
        return {**found, "Content": found["Body"].read()}

    def wait_for_object(self, location: str) -> dict[str, Any]:
        """Return an object once it is there."""
        return dict(wait_for(lambda: self.object_at(location), f"an object at {location}", 60))

    def answer(self, response: dict[str, Any]) -> dict[str, Any]:
        """Return what the small container answered to an invocation."""
        return dict(json.loads(self.wait_for_object(response["OutputLocation"])["Content"]))

    def state(self) -> dict[str, Any]:
        """Return what the dashboard gets of the endpoint."""
        state = httpx.get(f"{self.local.emulator.url}/_polyhost/state", trust_env=False).json()
        (found,) = (item for item in state["endpoints"] if item["name"] == self.name)
        return dict(found)

    def queue(self) -> tuple[int, int]:
        """Return how many invocations wait and run."""
        queue = self.state()["queue"]
        return queue["waiting"], queue["running"]

    def events(self, kind: str) -> list[str]:
        """Return the messages of the endpoint's events of one kind."""
        with httpx.stream("GET", f"{self.local.emulator.url}/_polyhost/events", trust_env=False, timeout=60) as stream:
            found: list[str] = []
            name = ""
            for line in stream.iter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: ") and name == "state":  # comes after all events until now
                    return found
                elif line.startswith("data: "):
                    event = json.loads(line.removeprefix("data: "))
                    if event["kind"] == kind and event["place"]["endpoint"] == self.name:
                        found.append(event["message"])
        return found

    def resize(self, count: int) -> None:
        """Have as many instances, and wait for them."""
        self.local.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=self.name,
            DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": count}],
        )
        self.local.wait(self.name)

    def metric(self, name: str, statistic: str = "Sum", variant: str | None = "AllTraffic") -> float | None:
        """Return a metric's statistic in CloudWatch, None without any value."""
        now = datetime.now(UTC)
        dimensions = {"EndpointName": self.name} | ({"VariantName": variant} if variant else {})
        points = self.local.emulator.client("cloudwatch", REGION).get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=name,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
            StartTime=now - timedelta(minutes=30),
            EndTime=now + timedelta(minutes=1),
            Period=3600,
            Statistics=[statistic],
        )["Datapoints"]
        return float(points[0][statistic]) if points else None

    def log(self) -> list[str]:
        """Return the lines of the data-logs."""
        found = self.local.emulator.client("logs", REGION).filter_log_events(
            logGroupName=f"/aws/sagemaker/Endpoints/{self.name}"
        )["events"]
        return [event["message"] for event in found if event["logStreamName"].endswith("data-log")]


def create_async_config(local: Local, name: str, count: int = 1, **output: Any) -> None:
    """Create a configuration for the model of the same name; `per_instance` limits an instance's invocations."""
    per_instance = output.pop("per_instance", None)
    client = {"ClientConfig": {"MaxConcurrentInvocationsPerInstance": per_instance}} if per_instance else {}
    members = {"S3OutputPath": f"s3://{BUCKET}/{name}/out"} | output
    variant = {"VariantName": "AllTraffic", "ModelName": name, "InstanceType": "ml.m5.xlarge"}
    local.sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[variant | {"InitialInstanceCount": count}],
        AsyncInferenceConfig={"OutputConfig": {key: value for key, value in members.items() if value}, **client},
    )


@contextmanager
def async_endpoint(
    local: Local, name: str, count: int = 1, settings: dict[str, Any] | None = None, **output: Any
) -> Iterator[AsyncEndpoint]:
    """Host one; `settings` are the model's, `output` members of OutputConfig; None leaves one out."""
    local.s3.put_object(Bucket=BUCKET, Key=f"{name}/model.tar.gz", Body=archive("one", **(settings or {})))
    local.model(name, multi_model=False)
    create_async_config(local, name, count, **output)
    local.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    local.wait(name)
    yield AsyncEndpoint(local, name)
    local.delete(name)
