"""Functions that are subscribed to topics: moto would call them in Docker, with an example of an event."""

import json
from typing import Any

from moto.sns.models import Subscription

from polyhost.emulator.functions.event_sink import put_event
from polyhost.emulator.functions.invocation import timestamp

_MOTOS_PUBLISH = Subscription.publish


def add_to_sns() -> None:
    """Send messages of topics to functions that are subscribed."""
    subscriptions: Any = Subscription
    subscriptions.publish = _publish


def _publish(
    subscription: Subscription,
    message: str,
    message_id: str,
    subject: str | None = None,
    message_attributes: dict[str, Any] | None = None,
    **others: Any,
) -> None:
    if subscription.protocol != "lambda":
        _MOTOS_PUBLISH(subscription, message, message_id, subject, message_attributes, **others)
        return
    matcher = subscription._filter_policy_matcher
    if matcher is not None and not matcher.matches(message_attributes, message):
        return
    if others.get("message_structure") == "json":
        texts = json.loads(message)
        message = texts.get("lambda", texts.get("default"))
    put_event(subscription.endpoint, _sns_event(subscription, message, message_id, subject, message_attributes or {}))


def _sns_event(
    subscription: Subscription, message: str, message_id: str, subject: str | None, attributes: dict[str, Any]
) -> dict[str, Any]:
    """Return the event of a message (Lambda developer guide, with-sns); the emulator does not sign it."""
    unsubscribe = f"https://sns.amazonaws.com/?Action=Unsubscribe&SubscriptionArn={subscription.arn}"
    content = {
        "Type": "Notification",
        "MessageId": message_id,
        "TopicArn": subscription.topic_arn,
        "Subject": subject,
        "Message": message,
        "Timestamp": timestamp(),
        "SignatureVersion": "1",
        "Signature": "EXAMPLE",
        "SigningCertUrl": "EXAMPLE",
        "UnsubscribeUrl": unsubscribe,
        "MessageAttributes": {
            name: {"Type": item["Type"], "Value": str(item["Value"])} for name, item in attributes.items()
        },
    }
    record = {
        "EventSource": "aws:sns",
        "EventVersion": "1.0",
        "EventSubscriptionArn": subscription.arn,
        "Sns": content,
    }
    return {"Records": [record]}
