"""Periodic work: in a thread, whatever fails, and once more at the end."""

import asyncio
import threading

import pytest

from polyhost.emulator.telemetry.periodic import run_every
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


async def test_work_runs_in_a_thread_and_once_more_when_cancelled() -> None:
    threads: list[threading.Thread] = []
    task = asyncio.create_task(run_every(3600, lambda: threads.append(threading.current_thread())))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


async def test_failure_is_logged_and_work_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        raise OSError("no connection")

    task = asyncio.create_task(run_every(0.01, fail))
    await until(lambda: len(calls) >= 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "no connection" in caplog.text


async def test_a_call_in_progress_ends_before_the_last_one_begins() -> None:
    """Else its requests would come when the server that they go to has stopped."""
    notes: list[str] = []
    go_on = threading.Event()

    def work() -> None:
        notes.append("begins")
        go_on.wait(60)
        notes.append("ends")

    task = asyncio.create_task(run_every(0, work))
    await until(lambda: notes == ["begins"])
    task.cancel()
    await asyncio.sleep(0.05)  # a last call that does not wait would begin now
    assert notes == ["begins"]
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert notes == ["begins", "ends"] * 2
