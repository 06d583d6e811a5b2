"""Asynchronous inference: inputs in S3, answers in S3, and a notification of each.

A model that recognises digits is deployed behind an asynchronous endpoint. Its inputs are uploaded, the endpoint is
invoked for each, and the predictions are collected in two ways: from a queue of SQS, which is subscribed to the topics
that the endpoint notifies, and by looking for the output in S3. One input is spoilt, to show a failure. Then the
endpoint is scaled to zero instances and back: an invocation that comes in between waits. The environment alone decides
where it runs. Here, offline, with `polyhost emulator` in another shell:

    eval "$(polyhost emulator env)"
    python -m examples.async_inference

On AWS: credentials, a region, an image in ECR, `--image` and `--role ARN`; the role may write to the bucket and publish
to the topics.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import boto3
from botocore.exceptions import ClientError

from examples.account import CAPACITY, Account, Resources, argument_parser

NAME = "digits-async"
VARIANT = "AllTraffic"
INPUTS = 20
ROWS = 5  # of an input
WAIT_S = 600.0  # for an answer; on AWS an endpoint takes minutes to scale from zero

T = TypeVar("T")


def train(folder: Path) -> Any:
    """Write the contents of the model's archive, and return digits that it has not seen, with their classes."""
    import joblib
    from sklearn.datasets import load_digits
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import train_test_split

    pixels, classes = load_digits(return_X_y=True)
    x, unseen, y, expected = train_test_split(pixels, classes, test_size=INPUTS * ROWS, random_state=0)
    folder.mkdir()
    joblib.dump(RandomForestClassifier(50, random_state=0).fit(x, y), folder / "model.joblib")
    return unseen, expected


class Inbox:
    """Topics for successes and for errors, and a queue that gets the notifications of both."""

    def __init__(self) -> None:
        self._sns, self._sqs = boto3.client("sns"), boto3.client("sqs")
        self._queue: str = self._sqs.create_queue(QueueName=NAME)["QueueUrl"]
        self._topics = [self._sns.create_topic(Name=f"{NAME}-{kind}")["TopicArn"] for kind in ("success", "error")]

    def __enter__(self) -> Self:
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"]
        queue = attributes["QueueArn"]
        allow = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": queue,
            "Condition": {"ArnEquals": {"aws:SourceArn": self._topics}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        self._sqs.set_queue_attributes(QueueUrl=self._queue, Attributes={"Policy": policy})
        for topic in self._topics:
            self._sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for topic in self._topics:
            self._sns.delete_topic(TopicArn=topic)
        self._sqs.delete_queue(QueueUrl=self._queue)

    @property
    def notification_config(self) -> dict[str, Any]:
        success, error = self._topics
        return {
            "SuccessTopic": success,
            "ErrorTopic": error,
            "IncludeInferenceResponseIn": ["ERROR_NOTIFICATION_TOPIC"],
        }

    def collect(self, results: dict[str, dict[str, Any]]) -> None:
        """Add the notifications that have come, by inference ID; the tests of the topics are ignored."""
        received = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        for message in received.get("Messages", []):
            notification = json.loads(json.loads(message["Body"])["Message"])
            if notification["eventName"] == "InferenceResult":
                results[notification["inferenceId"]] = notification
            self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])


class Endpoint:
    """The asynchronous endpoint."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def create(self, resources: Resources, folder: Path, inbox: Inbox) -> None:
        """Create it, and return when it is in service."""
        container = {
            "Image": self._account.image,
            "ModelDataUrl": self._account.upload_archive(folder, NAME),
            "Environment": {"POLYHOST_FRONTEND": "native", "POLYHOST_ZYGOTES": "sklearn"},
        }
        resources.create_model(NAME, PrimaryContainer=container)
        place = f"s3://{self._account.bucket}/{NAME}"
        resources.create_endpoint_config(
            NAME,
            ProductionVariants=[{"VariantName": VARIANT, "ModelName": NAME} | CAPACITY],
            AsyncInferenceConfig={
                "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 4},
                "OutputConfig": {
                    "S3OutputPath": f"{place}/output",
                    "S3FailurePath": f"{place}/failures",
                    "NotificationConfig": inbox.notification_config,
                },
            },
        )
        resources.create_endpoint(NAME, NAME)

    def upload_input(self, name: str, content: str) -> str:
        """Upload an input, and return its address."""
        key = f"{NAME}/input/{name}.json"
        self._account.s3.put_object(Bucket=self._account.bucket, Key=key, Body=content)
        return f"s3://{self._account.bucket}/{key}"

    def invoke(self, name: str, input_location: str) -> dict[str, Any]:
        """Have an input queued under an inference ID, and return the places of the answer."""
        response: dict[str, Any] = self._account.runtime.invoke_endpoint_async(
            EndpointName=NAME,
            InputLocation=input_location,
            InferenceId=name,
            ContentType="application/json",
            Accept="application/json",
        )
        return response

    def output(self, location: str) -> Any:
        """Return the prediction at a place in S3, or None if it has not been written yet."""
        bucket, _, key = location.removeprefix("s3://").partition("/")
        try:
            return json.loads(self._account.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise

    def scale(self, count: int) -> None:
        """Change the number of instances, and return when they are there."""
        sagemaker = self._account.sagemaker
        desired = [{"VariantName": VARIANT, "DesiredInstanceCount": count}]
        sagemaker.update_endpoint_weights_and_capacities(EndpointName=NAME, DesiredWeightsAndCapacities=desired)
        sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=NAME)


def wait_for(look: Callable[[], T | None], what: str) -> T:
    """Return what `look` finds. The program ends if it does not."""
    deadline = time.monotonic() + WAIT_S
    while (found := look()) is None:
        if time.monotonic() > deadline:
            sys.exit(f"there is no {what} after {WAIT_S:.0f} s")
        time.sleep(1)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    options = argument_parser("async_inference", __doc__).parse_args(arguments)
    account = Account(options.image, options.role)
    endpoint = Endpoint(account)
    with tempfile.TemporaryDirectory(prefix="polyhost-example-") as folder, Inbox() as inbox:
        unseen, expected = train(Path(folder) / "model")
        with Resources(account) as resources:
            endpoint.create(resources, Path(folder) / "model", inbox)
            _show(endpoint, inbox, unseen.reshape(INPUTS, ROWS, -1), expected.reshape(INPUTS, ROWS))
    return 0


def _show(endpoint: Endpoint, inbox: Inbox, inputs: Any, expected: Any) -> None:
    names = [f"digits-{number}" for number in range(INPUTS)]
    for name, rows in zip(names, inputs, strict=True):
        endpoint.invoke(name, endpoint.upload_input(name, json.dumps(rows.tolist())))
    endpoint.invoke("spoilt", endpoint.upload_input("spoilt", "these are no digits"))

    results: dict[str, dict[str, Any]] = {}
    deadline = time.monotonic() + WAIT_S
    while len(results) <= INPUTS:
        inbox.collect(results)
        if time.monotonic() > deadline:
            sys.exit(f"only {len(results)} notifications came within {WAIT_S:.0f} s")
    right = 0
    for name, classes in zip(names, expected.tolist(), strict=True):
        predicted = endpoint.output(results[name]["responseParameters"]["outputLocation"])
        right += sum(one == other for one, other in zip(predicted, classes, strict=True))
    print(f"notified of {INPUTS} predictions: {right} of {INPUTS * ROWS} digits are right")
    print(f"spoilt: {results['spoilt']['invocationStatus']}, {results['spoilt']['failureReason']}")

    endpoint.scale(0)
    location = endpoint.invoke("late", endpoint.upload_input("late", json.dumps(inputs[0].tolist())))["OutputLocation"]
    print(f"with no instances: {'an' if endpoint.output(location) else 'no'} answer")
    endpoint.scale(1)
    predicted = wait_for(lambda: endpoint.output(location), f"object at {location}")
    print(f"with an instance: {len(predicted)} digits")


if __name__ == "__main__":
    sys.exit(main())
