"""Polling with a deadline, for conditions that nothing announces."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

_POLL_S = 0.02


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 120.0) -> Any:
    """Poll until the condition is true, and return its value."""
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        time.sleep(_POLL_S)
    return result


async def until(condition: Callable[[], Any], timeout_s: float = 120.0) -> None:
    """Poll until the condition is true, while the event loop runs."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)
