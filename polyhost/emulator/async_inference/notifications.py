"""Notifications of asynchronous inference (developer guide, async-inference-check-predictions and -create-endpoint)."""

import asyncio
import base64
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from polyhost.emulator import aws_clients
from polyhost.emulator.async_inference.invocation import AsyncInvocation
from polyhost.emulator.errors import EmulatorError

MAX_INCLUDED_BYTES = 128 * 1024  # botocore, IncludeInferenceResponseIn
_EVENT = {"eventVersion": "1.0", "eventSource": "aws:sagemaker"}
_TEST = _EVENT | {"eventName": "TestNotification"}
_SEE = "Check S3 path location(if configured) or Cloudwatch for additional details."


class NotificationError(EmulatorError):
    """A notification could not be published; the message names the topic and the remedy."""


@dataclass(frozen=True)
class Outcome:
    """What a notification says of an invocation; None stands for what it does not say.

    `response` is the content that it includes.
    """

    failure_reason: str | None = None
    content_type: str | None = None
    location: str | None = None
    response: bytes | None = None


def result_message(invocation: AsyncInvocation, outcome: Outcome) -> dict[str, Any]:
    """Return the notification of an invocation's end, in the order of the service's members."""
    failed = outcome.failure_reason is not None
    headers = invocation.headers
    request = {
        "accept": headers.get("Accept"),
        "contentType": headers.get("Content-Type"),
        "customAttributes": headers.get("X-Amzn-SageMaker-Custom-Attributes"),
        "endpointName": invocation.endpoint,
        "inputLocation": invocation.input_location,
    }
    location = "failureLocation" if failed else "outputLocation"
    response = _known({"contentType": outcome.content_type, location: outcome.location})
    content = outcome.response
    included = (
        {"content": base64.b64encode(content).decode(), "message": _SEE, "encoding": "BASE64"}
        if content is not None
        else None
    )
    message = {
        "awsRegion": invocation.region,
        "eventTime": _timestamp(time.time()),
        "receivedTime": _timestamp(invocation.received),
        "invocationStatus": "Failed" if failed else "Completed",
        "failureReason": outcome.failure_reason,
        "requestParameters": _known(request),
        "responseParameters": response or None,
        "responseBody": included,
        "inferenceId": invocation.inference_id,
    }
    return _known(message) | _EVENT | {"eventName": "InferenceResult"}


class Notifier:
    """Publishes to the topics of the emulator's own SNS, in threads. `url` is the emulator's."""

    def __init__(self, url: str) -> None:
        self._client = lru_cache(None)(lambda region: aws_clients.client("sns", region, url))

    async def publish(self, topic: str, message: dict[str, Any]) -> None:
        """Publish a message, which becomes JSON. Raises NotificationError."""
        try:
            await asyncio.to_thread(self._publish, topic, json.dumps(message))
        except (ClientError, BotoCoreError) as error:
            raise NotificationError(
                f"cannot publish to the topic {topic}: {error}; create the topic, or correct its ARN"
            ) from error

    async def test(self, topics: Sequence[str]) -> None:
        """Publish the test that an endpoint's topics get when it is created or changed. Raises NotificationError."""
        for topic in topics:
            await self.publish(topic, _TEST)

    def _publish(self, topic: str, text: str) -> None:
        self._client(topic.split(":")[3]).publish(TopicArn=topic, Message=text)


def _known(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
