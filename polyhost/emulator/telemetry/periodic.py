"""Periodic background work that blocks, such as sending metrics with boto3."""

import asyncio
import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)


async def run_every(seconds: float, work: Callable[[], None]) -> None:
    """Call `work` in a thread every `seconds`, and once more when cancelled; failures are logged.

    One call ends before the next begins, and the last one before this function does.
    """
    try:
        while True:
            await asyncio.sleep(seconds)
            await _call(work)
    except asyncio.CancelledError:
        await _call(work)
        raise


async def _call(work: Callable[[], None]) -> None:
    call = asyncio.create_task(asyncio.to_thread(_log_failure, work))
    try:
        await asyncio.shield(call)
    except asyncio.CancelledError:
        await call  # a thread cannot be cancelled
        raise


def _log_failure(work: Callable[[], None]) -> None:
    try:
        work()
    except Exception:
        logger.exception("cannot send the endpoints' metrics or logs to the emulator's own CloudWatch")
