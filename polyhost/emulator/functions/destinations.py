"""Where the outcomes of asynchronous calls go: queues, topics and other functions."""

import asyncio
import json
import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from polyhost.emulator import aws_clients
from polyhost.emulator.functions.event_outcome import SUCCESS, EventOutcome
from polyhost.emulator.functions.event_settings import EventSettings
from polyhost.emulator.functions.invocation import FunctionCall
from polyhost.emulator.functions.spec import FunctionReference

logger = logging.getLogger(__name__)

Attributes = dict[str, dict[str, str]]


class Destinations:
    """Sends records to the emulator's own SQS and SNS, in threads. `url` is the emulator's."""

    def __init__(self, url: str) -> None:
        self._client = lru_cache(None)(lambda service, region: aws_clients.client(service, region, url))

    async def tell(
        self, outcome: EventOutcome, settings: EventSettings, invoke: Callable[[FunctionReference, FunctionCall], None]
    ) -> None:
        """Send a call's outcome where the function's settings say; what cannot be delivered is logged."""
        destination = settings.on_success if outcome.condition == SUCCESS else settings.on_failure
        if destination:
            await self._deliver(destination, json.dumps(outcome.record()), {}, invoke)
        if settings.dead_letters and outcome.condition != SUCCESS:
            payload = outcome.call.payload.decode("utf-8", "replace")
            await self._deliver(settings.dead_letters, payload, outcome.dead_letter_attributes(), invoke)

    async def _deliver(
        self,
        arn: str,
        text: str,
        attributes: Attributes,
        invoke: Callable[[FunctionReference, FunctionCall], None],
    ) -> None:
        service, region = arn.split(":")[2:4]
        try:
            if service == "lambda":
                reference = FunctionReference.parse(arn, region)
                invoke(reference, FunctionCall(reference.arn, text.encode()))
            elif service == "sqs":
                await asyncio.to_thread(self._send, arn, region, text, attributes)
            elif service == "sns":
                await asyncio.to_thread(self._publish, arn, region, text, attributes)
            else:
                logger.warning("cannot tell %s how a call ended: use a queue, a topic or a function", arn)
        except (ClientError, BotoCoreError) as error:
            logger.warning("cannot tell %s how a call ended: %s; create it, or correct its ARN", arn, error)

    def _send(self, arn: str, region: str, text: str, attributes: Attributes) -> None:
        client: Any = self._client("sqs", region)
        url = client.get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
        client.send_message(QueueUrl=url, MessageBody=text, MessageAttributes=attributes)

    def _publish(self, arn: str, region: str, text: str, attributes: Attributes) -> None:
        self._client("sns", region).publish(TopicArn=arn, Message=text, MessageAttributes=attributes)
