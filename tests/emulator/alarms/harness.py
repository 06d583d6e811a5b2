"""CloudWatch, SNS and SQS of an emulator, by boto3."""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.server import Emulator
from tests.emulator.conftest import COMMAND, REGION, AnyEmulator
from tests.support.waiting import wait_for

NAMESPACE = "Tests"
ACCOUNT = "123456789012"


class AlarmHarness:
    """Clients, and what most tests do with them."""

    def __init__(self, emulator: AnyEmulator) -> None:
        self.cloudwatch, self.sns, self.sqs = (
            emulator.client(service, REGION) for service in ("cloudwatch", "sns", "sqs")
        )

    def put(self, **members: Any) -> str:
        """Put an alarm on the sum of a metric of the alarm's name, above 5, in one minute; return its name."""
        name = f"alarm-{uuid.uuid4()}"
        defaults = {
            "MetricName": name,
            "Namespace": NAMESPACE,
            "Statistic": "Sum",
            "Period": 60,
            "EvaluationPeriods": 1,
            "Threshold": 5.0,
            "ComparisonOperator": "GreaterThanThreshold",
        }
        known = {key: value for key, value in (defaults | members).items() if value is not None}
        self.cloudwatch.put_metric_alarm(**{"AlarmName": name} | known)
        return str(members.get("AlarmName", name))

    def describe(self, name: str, kind: str = "MetricAlarm") -> dict[str, Any]:
        (found,) = self.cloudwatch.describe_alarms(AlarmNames=[name], AlarmTypes=[kind])[f"{kind}s"]
        described: dict[str, Any] = found
        return described

    def wait_for_state(self, name: str, state: str, kind: str = "MetricAlarm") -> dict[str, Any]:
        """Return the alarm's description once it is in a state."""
        return dict(wait_for(lambda: self._in_state(name, state, kind), f"{name} in {state}"))

    def _in_state(self, name: str, state: str, kind: str) -> dict[str, Any] | None:
        described = self.describe(name, kind)
        return described if described["StateValue"] == state else None

    @contextmanager
    def publishing(self, value: float | Callable[[], float], *names: str, **members: Any) -> Iterator[None]:
        """Publish a value, or what the function returns then, of metrics again and again while the block runs."""
        ended = threading.Event()

        def publish() -> None:
            while not ended.wait(0.05):
                found = value() if callable(value) else value
                data = [{"MetricName": name, "Value": found} | members for name in names]
                self.cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=data)

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def subscribed_topic(self) -> tuple[str, str]:
        """Return the ARN of a topic, and the URL of a queue that subscribes to it."""
        name = f"t{uuid.uuid4().hex}"
        topic = self.sns.create_topic(Name=name)["TopicArn"]
        queue = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        self.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
        return topic, queue

    def receive(self, queue: str) -> dict[str, Any]:
        """Return the next notification that reaches a queue."""
        found = wait_for(lambda: self.sqs.receive_message(QueueUrl=queue).get("Messages"), "a notification")
        self.sqs.delete_message(QueueUrl=queue, ReceiptHandle=found[0]["ReceiptHandle"])
        notification: dict[str, Any] = json.loads(found[0]["Body"])
        return notification

    def history(self, name: str, **members: Any) -> list[dict[str, Any]]:
        """Return the history, the oldest item first."""
        items = self.cloudwatch.describe_alarm_history(AlarmName=name, ScanBy="TimestampAscending", **members)
        return list(items["AlarmHistoryItems"])


@contextmanager
def running_alarms(time_scale: float = 0.01) -> Iterator[AlarmHarness]:
    with Emulator(EmulatorConfig(port=0, command=COMMAND, time_scale=time_scale)) as emulator:
        yield AlarmHarness(emulator)
