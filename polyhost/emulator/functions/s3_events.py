"""Functions as targets of buckets' notifications: moto would call them in Docker."""

from typing import Any

import moto.s3.notifications

from polyhost.emulator.functions.event_sink import put_event

_MOTOS_SEND_TO_TOPIC = moto.s3.notifications._send_sns_message


def add_to_s3() -> None:
    """Send notifications of buckets to functions."""
    notifications: Any = moto.s3.notifications
    notifications._invoke_awslambda = _send_to_function
    notifications._send_sns_message = _send_to_topic


def _send_to_function(account_id: str, event_body: dict[str, Any], fn_arn: str, region_name: str) -> None:
    put_event(fn_arn, event_body)


def _send_to_topic(account_id: str, event_body: dict[str, Any], topic_arn: str, region_name: str) -> None:
    # The topic may be of a saved state, and SNS not called yet.
    from polyhost.emulator.functions.sns_events import add_to_sns

    add_to_sns()
    _MOTOS_SEND_TO_TOPIC(account_id, event_body, topic_arn, region_name)
