"""Event source mappings of SQS: queues are polled, and functions get their messages in batches.

See the Lambda developer guide, with-sqs: a batch is deleted when the function has taken it, and comes again after its
visibility time-out if not; a queue's own redrive policy moves it to another queue then.
"""

import asyncio
import json
import logging
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from polyhost.emulator import aws_clients
from polyhost.emulator.config import ACCOUNT
from polyhost.emulator.errors import AwsError
from polyhost.emulator.functions.invocation import FunctionCall, FunctionResult
from polyhost.emulator.functions.service import Functions
from polyhost.emulator.functions.spec import FunctionReference
from polyhost.emulator.moto_services.loaded import loaded_backends

_POLL_S = 0.2
_MOST_RECEIVED = 10  # SQS API reference, ReceiveMessage

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class QueueMapping:
    """A mapping of a queue that is enabled."""

    id: str
    region: str
    queue: str
    function_arn: str
    batch_size: int
    reports_failures: bool


class EventSourceMappings:
    """Polls the queues of all mappings. `url` is the emulator's own."""

    def __init__(self, functions: Functions, url: str) -> None:
        self._functions = functions
        self._client = lru_cache(None)(lambda region: aws_clients.client("sqs", region, url))
        self._busy: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Poll until cancelled; batches that run then are cancelled too, and delivered again."""
        try:
            while True:
                await asyncio.sleep(_POLL_S)
                for mapping in await asyncio.to_thread(_with_messages):
                    if mapping.id not in self._busy:
                        task = asyncio.create_task(self._run_batch(mapping))
                        self._busy[mapping.id] = task
                        task.add_done_callback(partial(self._forget, mapping.id))
        finally:
            for task in list(self._busy.values()):
                task.cancel()
            await asyncio.gather(*self._busy.values(), return_exceptions=True)

    def _forget(self, identifier: str, _: "asyncio.Task[None]") -> None:
        self._busy.pop(identifier, None)

    async def _run_batch(self, mapping: QueueMapping) -> None:
        try:
            client = await asyncio.to_thread(self._client, mapping.region)
            url, messages = await asyncio.to_thread(_receive, client, mapping)
            if not messages:
                return
            reference = FunctionReference.parse(mapping.function_arn, mapping.region)
            event = {"Records": [_record(message, mapping) for message in messages]}
            call = FunctionCall(reference.arn, json.dumps(event).encode())
            _, result = await self._functions.invoke(reference, call)
            done = _taken(messages, result, mapping.reports_failures)
            await asyncio.to_thread(_delete, client, url, done)
        except (AwsError, ClientError, BotoCoreError) as error:
            logger.warning(
                "messages of queue %s stay there, function %s did not run: %s",
                *(mapping.queue, mapping.function_arn, error),
            )


def _with_messages() -> list[QueueMapping]:
    """Return the enabled mappings whose queues have visible messages."""
    queues = {region: backend.queues for region, backend in loaded_backends("moto.sqs.models", "sqs_backends")}
    found = []
    for region, backend in loaded_backends("moto.awslambda.models", "lambda_backends"):
        for mapping in list(backend._event_source_mappings.values()):
            service, name = mapping.event_source_arn.split(":")[2], mapping.event_source_arn.rpartition(":")[2]
            queue = queues.get(region, {}).get(name) if service == "sqs" and mapping.enabled else None
            if queue is not None and queue.messages:
                found.append(
                    QueueMapping(
                        *(mapping.uuid, region, name, mapping.function_arn, mapping.batch_size),
                        reports_failures="ReportBatchItemFailures" in (mapping.function_response_types or ()),
                    )
                )
    return found


def _receive(client: Any, mapping: QueueMapping) -> tuple[str, list[dict[str, Any]]]:
    url = client.get_queue_url(QueueName=mapping.queue)["QueueUrl"]
    messages: list[dict[str, Any]] = []
    while len(messages) < mapping.batch_size:
        received = client.receive_message(
            QueueUrl=url,
            WaitTimeSeconds=0,  # whatever the queue says: waiting would take one of moto's threads
            MaxNumberOfMessages=min(_MOST_RECEIVED, mapping.batch_size - len(messages)),
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        ).get("Messages", [])
        if not received:
            break
        messages += received
    return url, messages


def _delete(client: Any, url: str, messages: list[dict[str, Any]]) -> None:
    for message in messages:
        client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def _taken(messages: list[dict[str, Any]], result: FunctionResult, reports_failures: bool) -> list[dict[str, Any]]:
    """Return the messages that the function has taken: all, none, or those that it does not report as failed."""
    if result.failed:
        return []
    if not reports_failures:
        return messages
    try:
        response = json.loads(result.payload or b"null")
        failed = {item["itemIdentifier"] for item in (response or {}).get("batchItemFailures") or []}
    except (ValueError, TypeError, KeyError, AttributeError):
        return []  # such a response counts as a failure of the whole batch
    known = {message["MessageId"] for message in messages}
    return [message for message in messages if message["MessageId"] not in failed] if failed <= known else []


def _record(message: dict[str, Any], mapping: QueueMapping) -> dict[str, Any]:
    attributes = {
        name: {
            "dataType": item["DataType"],
            "stringListValues": [],
            "binaryListValues": [],
            **({"stringValue": item["StringValue"]} if "StringValue" in item else {}),
        }
        for name, item in (message.get("MessageAttributes") or {}).items()
    }
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes") or {},
        "messageAttributes": attributes,
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{mapping.region}:{ACCOUNT}:{mapping.queue}",
        "awsRegion": mapping.region,
    }
