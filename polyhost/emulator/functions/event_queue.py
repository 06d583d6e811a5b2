"""Calls of InvocationType Event: run when their caller has its response, and repeated after failures."""

import asyncio
import logging

from polyhost.emulator.errors import AwsError
from polyhost.emulator.functions.errors import TooManyRequests
from polyhost.emulator.functions.invocation import FunctionCall
from polyhost.emulator.functions.service import Functions
from polyhost.emulator.functions.spec import FunctionReference, retries_of
from polyhost.emulator.time_scale import TimeScale

# Developer guide, invocation-async-error-handling: a minute before the second attempt, two before the third; throttled
# calls are tried again for six hours, from 1 s to 5 minutes apart.
_RETRY_S = (60.0, 120.0)
_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S, _MAX_AGE_S = 1.0, 300.0, 21_600.0

logger = logging.getLogger(__name__)


class EventQueue:
    """Runs calls in the background. Those that wait are lost when the emulator ends."""

    def __init__(self, functions: Functions, scale: TimeScale) -> None:
        self._functions = functions
        self._scale = scale
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, reference: FunctionReference, call: FunctionCall) -> None:
        """Run a call soon."""
        task = asyncio.create_task(self._run(reference, call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Forget the calls that wait."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, reference: FunctionReference, call: FunctionCall) -> None:
        try:
            retries = retries_of(reference)
            for pause in (*_RETRY_S[: len(_RETRY_S) if retries is None else retries], None):
                if await self._attempt(reference, call):
                    return
                if pause is not None:
                    await asyncio.sleep(self._scale.passing(pause))
            logger.warning("the event %s of function %s failed for the last time", call.request_id, reference.arn)
        except Exception as error:  # the function was deleted, for example
            logger.warning("the event %s of function %s is lost: %s", call.request_id, reference.arn, error)

    async def _attempt(self, reference: FunctionReference, call: FunctionCall) -> bool:
        """Return whether the function has taken the call without an error; while it is throttled, wait."""
        waited, backoff = 0.0, _FIRST_BACKOFF_S
        while True:
            try:
                _, result = await self._functions.invoke(reference, call)
                return not result.failed
            except TooManyRequests as error:
                if waited >= _MAX_AGE_S:
                    raise AwsError("it was throttled for six hours") from error
            await asyncio.sleep(self._scale.passing(backoff))
            waited, backoff = waited + backoff, min(2 * backoff, _LONGEST_BACKOFF_S)
