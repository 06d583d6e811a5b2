"""Events of other services, such as S3's notifications, on their way from moto's threads to functions."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

from flask import has_request_context
from flask import request as flask_request

from polyhost.emulator.functions.invocation import FunctionCall
from polyhost.emulator.functions.spec import FunctionReference

EVENTS = "polyhost.function-events"  # the environ's key for the sink

logger = logging.getLogger(__name__)


class EventSink:
    """Takes events in any thread; until it is attached, and once the emulator ends, they are lost."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._add: Callable[[FunctionReference, FunctionCall], None] | None = None

    def attach(self, add: Callable[[FunctionReference, FunctionCall], None]) -> None:
        """Pass events on to `add`, in the loop that runs."""
        self._loop, self._add = asyncio.get_running_loop(), add

    def put(self, arn: str, event: dict[str, Any]) -> None:
        """Have a function called with an event, but do not wait for it."""
        reference = FunctionReference.parse(arn, "")
        if self._loop is None or self._add is None or self._loop.is_closed():
            logger.warning("an event for %s came while the emulator starts or ends; it is lost", arn)
            return
        self._loop.call_soon_threadsafe(self._add, reference, FunctionCall(reference.arn, json.dumps(event).encode()))


def put_event(arn: str, event: dict[str, Any]) -> None:
    """Have a function called by the emulator whose request moto serves in this thread."""
    sink: EventSink | None = flask_request.environ.get(EVENTS) if has_request_context() else None
    if sink is not None:
        sink.put(arn, event)
