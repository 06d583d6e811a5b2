"""What is to be told to an AWS service of this process: gathered, then sent in one go, away from the event loop."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("polyhost.emulator")


async def every(seconds: float, send: Callable[[], Any]) -> None:
    """Calls `send` in a thread, for ever, and once more when cancelled; a failure is logged."""
    try:
        while True:
            await asyncio.sleep(seconds)
            await _try(send)
    except asyncio.CancelledError:
        await _try(send)
        raise


async def _try(send: Callable[[], Any]) -> None:
    try:
        await asyncio.to_thread(send)
    except Exception:
        logger.exception("the emulator's own metrics or logs could not be sent")
