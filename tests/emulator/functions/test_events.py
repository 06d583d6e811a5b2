"""Asynchronous calls, their ends, and events of other services: retries, destinations, dead letters, S3, SNS, SQS."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from polyhost.processes import running_emulator
from tests.emulator.conftest import REGION
from tests.emulator.functions.harness import ClientsOf, Lambda
from tests.emulator.functions.test_lifecycle import runtimes
from tests.support.waiting import wait_for

# Fails as often as its event says: attempts are counted in a file.
COUNTING = """
    import json, pathlib

    def handler(event, context):
        attempts = pathlib.Path(event["file"])
        attempts.write_text(attempts.read_text() + context.aws_request_id + chr(10))
        if len(attempts.read_text().split()) <= event["failures"]:
            raise ValueError("not yet")
        return {"taken": event["file"]}
"""
# Appends the event as a line to the file that the variable FILE names.
KEEPING = """
    import json, os

    def handler(event, context):
        with open(os.environ["FILE"], "a") as file:
            file.write(json.dumps(event) + chr(10))
        if any(record.get("body") == "bad" for record in event.get("Records", [])):
            raise ValueError("bad")
        return {"batchItemFailures": [
            {"itemIdentifier": record["messageId"]}
            for record in event.get("Records", []) if record.get("body") == "later"
        ]}
"""


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lambda]:
    """Run an emulator whose minutes take 0.3 s, and whose environments end after half a second without a call."""
    folder = tmp_path_factory.mktemp("fast")
    with running_emulator(folder, "--time-scale", "0.005", "--serverless-idle", "0.5") as emulator:
        yield Lambda(ClientsOf(emulator.url))


@pytest.fixture
def kept(name: str) -> Iterator[Path]:
    """Return an empty file that functions can write to: their /tmp is their own."""
    path = Path("/var/tmp", name)
    path.write_text("")
    yield path
    path.unlink()


class Messages:
    """Queues and topics of a test."""

    def __init__(self, functions: Lambda, name: str) -> None:
        self.sqs, self.sns = (functions.emulator.client(service, REGION) for service in ("sqs", "sns"))
        self.url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        self.topic = self.sns.create_topic(Name=name)["TopicArn"]

    @property
    def queue(self) -> str:
        wanted = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        return str(wanted["Attributes"]["QueueArn"])

    def received(self) -> dict[str, Any]:
        """Return the next message."""
        message: dict[str, Any] = wait_for(self._receive, "a message")
        return message

    def _receive(self) -> dict[str, Any] | None:
        received = self.sqs.receive_message(QueueUrl=self.url, MessageAttributeNames=["All"]).get("Messages", [])
        for message in received:
            self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
            return dict(message)
        return None

    def delete(self) -> None:
        self.sqs.delete_queue(QueueUrl=self.url)
        self.sns.delete_topic(TopicArn=self.topic)


@pytest.fixture
def messages(fast: Lambda, name: str) -> Iterator[Messages]:
    made = Messages(fast, name)
    yield made
    made.delete()


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_events_are_tried_again(fast: Lambda, name: str, kept: Path) -> None:
    fast.create(name, COUNTING)
    response = fast.invoke(name, {"file": str(kept), "failures": 2}, InvocationType="Event")
    wait_for(lambda: len(kept.read_text().split()) == 3, "the third attempt")
    assert set(kept.read_text().split()) == {response["ResponseMetadata"]["RequestId"]}


def test_the_end_of_an_event_is_told(fast: Lambda, name: str, kept: Path, messages: Messages) -> None:
    fast.create(name, COUNTING)
    config = {
        "OnSuccess": {"Destination": messages.queue},
        "OnFailure": {"Destination": messages.queue},
    }
    fast.client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1, DestinationConfig=config)
    event = {"file": str(kept), "failures": 1}
    fast.invoke(name, event, InvocationType="Event")
    record = json.loads(messages.received()["Body"])
    assert (record["version"], record["requestPayload"]) == ("1.0", event)
    assert record["requestContext"]["condition"] == "Success"
    assert record["requestContext"]["approximateInvokeCount"] == 2
    assert record["requestContext"]["functionArn"].endswith(f":function:{name}:$LATEST")
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}
    assert record["responsePayload"] == {"taken": str(kept)}
    fast.invoke(name, {"file": str(kept), "failures": 100}, InvocationType="Event")
    record = json.loads(messages.received()["Body"])
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["responseContext"]["functionError"] == "Unhandled"
    assert record["responsePayload"]["errorMessage"] == "not yet"


def test_ends_are_told_to_topics_and_functions(fast: Lambda, name: str, kept: Path, messages: Messages) -> None:
    arn = fast.create(f"{name}-keeps", KEEPING, Environment={"Variables": {"FILE": str(kept)}})["FunctionArn"]
    messages.sns.subscribe(TopicArn=messages.topic, Protocol="sqs", Endpoint=messages.queue)
    fast.create(name, "def handler(event, context):\n    return 1 / event\n")
    config = {"OnSuccess": {"Destination": arn}, "OnFailure": {"Destination": messages.topic}}
    fast.client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0, DestinationConfig=config)
    fast.invoke(name, 1, InvocationType="Event")
    wait_for(lambda: lines(kept), "the function's end at the other function")
    assert lines(kept)[0]["responsePayload"] == 1.0
    fast.invoke(name, 0, InvocationType="Event")
    record = json.loads(json.loads(messages.received()["Body"])["Message"])
    assert record["responsePayload"]["errorType"] == "ZeroDivisionError"


def test_dead_letters(fast: Lambda, name: str, messages: Messages) -> None:
    source = "def handler(event, context):\n    raise ValueError('no good')\n"
    created = fast.create(name, source, DeadLetterConfig={"TargetArn": messages.queue})
    assert created["DeadLetterConfig"] == {"TargetArn": messages.queue}
    fast.client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    response = fast.invoke(name, {"a": 1}, InvocationType="Event")
    message = messages.received()
    assert json.loads(message["Body"]) == {"a": 1}
    attributes = {key: item["StringValue"] for key, item in message["MessageAttributes"].items()}
    assert attributes == {
        "RequestID": response["ResponseMetadata"]["RequestId"],
        "ErrorCode": "200",
        "ErrorMessage": "no good",
    }
    fast.client.update_function_configuration(FunctionName=name, DeadLetterConfig={"TargetArn": ""})
    assert "DeadLetterConfig" not in fast.client.get_function_configuration(FunctionName=name)
    with pytest.raises(ClientError, match="must be the ARN of a queue"):
        fast.client.update_function_configuration(FunctionName=name, DeadLetterConfig={"TargetArn": "arn:aws:s3:::x"})


def test_events_that_are_throttled_for_long_are_given_up(fast: Lambda, name: str, messages: Messages) -> None:
    fast.create(name, "def handler(event, context):\n    return 1\n")
    fast.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    fast.client.put_function_event_invoke_config(
        FunctionName=name,
        MaximumEventAgeInSeconds=60,
        DestinationConfig={"OnFailure": {"Destination": messages.queue}},
    )
    fast.invoke(name, 7, InvocationType="Event")
    record = json.loads(messages.received()["Body"])
    assert record["requestContext"]["condition"] == "EventAgeExceeded"
    assert (record["requestContext"]["approximateInvokeCount"], record["requestPayload"]) == (0, 7)


def test_settings_of_events_are_replaced_and_changed(fast: Lambda, name: str) -> None:
    fast.create(name, "def handler(event, context):\n    return 1\n")
    client: Any = fast.client
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=2)
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1)
    client.update_function_event_invoke_config(FunctionName=name, MaximumEventAgeInSeconds=60)
    found = client.get_function_event_invoke_config(FunctionName=name)
    assert (found["MaximumRetryAttempts"], found["MaximumEventAgeInSeconds"]) == (1, 60)


def test_an_environment_without_calls_ends(fast: Lambda, name: str) -> None:
    fast.create(name, "import os\ndef handler(event, context):\n    return context.log_stream_name\n")
    first = fast.returned(name)
    wait_for(lambda: runtimes(name) == [], "the end of the idle environment")
    assert fast.returned(name) != first


def test_objects_of_s3_call_a_function(fast: Lambda, name: str, kept: Path) -> None:
    arn = fast.create(name, KEEPING, Environment={"Variables": {"FILE": str(kept)}})["FunctionArn"]
    s3 = fast.emulator.client("s3", REGION)
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    rule = {"Name": "suffix", "Value": ".csv"}
    configuration = {
        "LambdaFunctionArn": arn,
        "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": [rule]}},
    }
    s3.put_bucket_notification_configuration(
        Bucket=name, NotificationConfiguration={"LambdaFunctionConfigurations": [configuration]}
    )
    s3.put_object(Bucket=name, Key="a.txt", Body=b"x")
    s3.put_object(Bucket=name, Key="in/b.csv", Body=b"1,2")
    wait_for(lambda: lines(kept), "the event of an object")
    (record,) = lines(kept)[0]["Records"]
    assert (record["eventSource"], record["eventName"]) == ("aws:s3", "ObjectCreated:Put")
    assert record["s3"]["bucket"]["name"] == name and record["s3"]["object"]["size"] == 3
    assert record["s3"]["object"]["key"] == "in%2Fb.csv"
    for key in ("a.txt", "in/b.csv"):
        s3.delete_object(Bucket=name, Key=key)
    s3.delete_bucket(Bucket=name)
    assert len(lines(kept)) == 1


def test_messages_of_a_topic_call_a_function(fast: Lambda, name: str, kept: Path, messages: Messages) -> None:
    arn = fast.create(name, KEEPING, Environment={"Variables": {"FILE": str(kept)}})["FunctionArn"]
    policy = {"FilterPolicy": json.dumps({"colour": ["green"]})}
    subscription = messages.sns.subscribe(
        TopicArn=messages.topic, Protocol="lambda", Endpoint=arn, Attributes=policy, ReturnSubscriptionArn=True
    )["SubscriptionArn"]
    for colour in ("red", "green"):
        attributes = {"colour": {"DataType": "String", "StringValue": colour}}
        messages.sns.publish(TopicArn=messages.topic, Message=f"is {colour}", Subject="S", MessageAttributes=attributes)
    wait_for(lambda: lines(kept), "the event of a message")
    (record,) = lines(kept)[0]["Records"]
    assert (record["EventSource"], record["EventSubscriptionArn"]) == ("aws:sns", subscription)
    content = record["Sns"]
    assert (content["TopicArn"], content["Message"], content["Subject"]) == (messages.topic, "is green", "S")
    assert content["MessageAttributes"] == {"colour": {"Type": "String", "Value": "green"}}
    assert len(lines(kept)) == 1


def test_messages_of_a_queue_call_a_function(fast: Lambda, name: str, kept: Path, messages: Messages) -> None:
    fast.create(name, KEEPING, Environment={"Variables": {"FILE": str(kept)}})
    mapping = fast.client.create_event_source_mapping(
        FunctionName=name,
        EventSourceArn=messages.queue,
        BatchSize=5,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )["UUID"]
    entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(("good", "later"))]
    messages.sqs.send_message_batch(QueueUrl=messages.url, Entries=entries)

    def bodies() -> list[str]:
        return [record["body"] for event in lines(kept) for record in event["Records"]]

    wait_for(lambda: set(bodies()) == {"good", "later"}, "both messages")
    (record, *_) = lines(kept)[0]["Records"]
    assert (record["eventSource"], record["eventSourceARN"]) == ("aws:sqs", messages.queue)
    assert int(record["attributes"]["ApproximateReceiveCount"]) == 1
    # The one that was taken is deleted, the other comes again after its visibility time-out.
    wait_for(lambda: _held(messages) == 1, "the end of the message that was taken")
    fast.client.delete_event_source_mapping(UUID=mapping)


def test_a_batch_that_fails_goes_to_the_redrive_queue(fast: Lambda, name: str, kept: Path, messages: Messages) -> None:
    url = messages.sqs.create_queue(
        QueueName=f"{name}-source",
        Attributes={
            "VisibilityTimeout": "1",
            "RedrivePolicy": json.dumps({"deadLetterTargetArn": messages.queue, "maxReceiveCount": "1"}),
        },
    )["QueueUrl"]
    source = messages.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    fast.create(name, KEEPING, Environment={"Variables": {"FILE": str(kept)}})
    mapping = fast.client.create_event_source_mapping(FunctionName=name, EventSourceArn=source)["UUID"]
    messages.sqs.send_message(QueueUrl=url, MessageBody="bad")
    assert messages.received()["Body"] == "bad"
    fast.client.update_event_source_mapping(UUID=mapping, Enabled=False)
    fast.client.delete_event_source_mapping(UUID=mapping)
    messages.sqs.delete_queue(QueueUrl=url)


def _held(messages: Messages) -> int:
    """Return how many messages the queue has, visible or not."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = messages.sqs.get_queue_attributes(QueueUrl=messages.url, AttributeNames=names)["Attributes"]
    return sum(int(found[name]) for name in names)
