"""Tasks that go on without a caller that waits for them."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class BackgroundTasks:
    """Keeps running tasks referenced (the event loop does not), and cancels them when closed."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(retrieve_exception)
        return task

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def retrieve_exception(task: "asyncio.Task[Any]") -> None:
    """Mark a task's exception as retrieved: it is raised to those who wait, or was reported to the observer."""
    if not task.cancelled():
        task.exception()
