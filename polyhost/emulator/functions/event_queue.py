"""Calls of InvocationType Event: run when their caller has its response, and repeated after failures."""

import asyncio
import logging
import time

from polyhost.emulator.functions.destinations import Destinations
from polyhost.emulator.functions.errors import TooManyRequests
from polyhost.emulator.functions.event_outcome import EXHAUSTED, SUCCESS, TOO_OLD, EventOutcome
from polyhost.emulator.functions.event_settings import EventSettings
from polyhost.emulator.functions.invocation import FunctionCall, FunctionResult
from polyhost.emulator.functions.service import Functions
from polyhost.emulator.functions.spec import FunctionReference, FunctionSpec, event_settings_of
from polyhost.emulator.time_scale import TimeScale

# Throttled calls are tried again until they are too old, from 1 s to 5 minutes apart.
_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 1.0, 300.0

logger = logging.getLogger(__name__)


class EventQueue:
    """Runs calls in the background. Those that wait are lost when the emulator ends."""

    def __init__(self, functions: Functions, destinations: Destinations, scale: TimeScale) -> None:
        self._functions = functions
        self._destinations = destinations
        self._scale = scale
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def add(self, reference: FunctionReference, call: FunctionCall) -> None:
        """Run a call soon."""
        if self._closed:
            return
        task = asyncio.create_task(self._run(reference, call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Forget the calls that wait."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, reference: FunctionReference, call: FunctionCall) -> None:
        try:
            settings = event_settings_of(reference)
            outcome = await self._outcome(reference, call, settings)
            if outcome.condition != SUCCESS:
                logger.warning(
                    "the event %s of function %s failed for good: %s", call.request_id, reference.arn, outcome.condition
                )
            await self._destinations.tell(outcome, settings, self.add)
        except Exception as error:  # the function was deleted, for example
            logger.warning("the event %s of function %s is lost: %s", call.request_id, reference.arn, error)

    async def _outcome(self, reference: FunctionReference, call: FunctionCall, settings: EventSettings) -> EventOutcome:
        """Run the attempts until one succeeds, none is left, or the event is too old."""
        deadline = time.monotonic() + self._scale.passing(settings.max_age_s)
        result, version, attempts = None, "", 0
        for pause in (*settings.retry_s, None):
            ran = await self._attempt(reference, call, deadline)
            if ran is None:
                return EventOutcome(reference, call, TOO_OLD, attempts, result, version)
            attempts, version, result = attempts + 1, ran[0].version, ran[1]
            if not result.failed:
                return EventOutcome(reference, call, SUCCESS, attempts, result, version)
            if pause is not None:
                await asyncio.sleep(min(self._scale.passing(pause), max(0.0, deadline - time.monotonic())))
                if time.monotonic() >= deadline:
                    return EventOutcome(reference, call, TOO_OLD, attempts, result, version)
        return EventOutcome(reference, call, EXHAUSTED, attempts, result, version)

    async def _attempt(
        self, reference: FunctionReference, call: FunctionCall, deadline: float
    ) -> tuple[FunctionSpec, FunctionResult] | None:
        """Return what ran and its result, or None if the function was throttled until the event was too old."""
        backoff = _FIRST_BACKOFF_S
        while True:
            try:
                return await self._functions.invoke(reference, call)
            except TooManyRequests:
                if time.monotonic() >= deadline:
                    return None
            await asyncio.sleep(self._scale.passing(backoff))
            backoff = min(2 * backoff, _LONGEST_BACKOFF_S)
