"""Periodic background work that blocks, such as sending metrics with boto3."""

import asyncio
import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)


async def run_every(seconds: float, work: Callable[[], None]) -> None:
    """Call `work` in a thread every `seconds`, and once more when cancelled; failures are logged."""
    try:
        while True:
            await asyncio.sleep(seconds)
            await _try(work)
    except asyncio.CancelledError:
        await _try(work)
        raise


async def _try(work: Callable[[], None]) -> None:
    try:
        await asyncio.to_thread(work)
    except Exception:
        logger.exception("cannot send the endpoints' metrics or logs to the emulator's own CloudWatch")
