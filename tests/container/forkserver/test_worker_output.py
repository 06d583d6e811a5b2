"""The workers' native output in the log."""

import logging
import os
import time
from pathlib import Path

import pytest

from polyhost.container.forkserver import worker_output
from polyhost.container.forkserver.records import WorkerLifecycle
from polyhost.container.forkserver.worker_output import OutputLog
from polyhost.container.system.event_loop import EventLoop
from tests.container.records import hosted_model, recorded_worker


def lines(caplog: pytest.LogCaptureFixture) -> int:
    """Return how many lines were logged; other code of this process may log too."""
    return sum(record.name == worker_output.__name__ for record in caplog.records)


def test_endless_output_is_logged_in_turns_with_pauses(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    loop = EventLoop()
    log = OutputLog(loop)
    with recorded_worker(hosted_model(tmp_path)) as worker:
        worker.record.enter(WorkerLifecycle.FORKING)
        log.watch(worker.record)
        os.write(worker.output, b"x\n" * 4096)
        counts: list[int] = []
        loop.after(0.0, lambda: counts.append(lines(caplog)))
        loop.every(0.01, lambda: loop.stop(0) if lines(caplog) == 4096 else None)
        loop.after(60, lambda: loop.stop(1))

        assert loop.run() == 0
        assert counts == [2048]
        log.unwatch(worker.record)


def test_output_of_an_ended_worker_is_not_resumed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    loop = EventLoop()
    log = OutputLog(loop)
    with recorded_worker(hosted_model(tmp_path)) as worker:
        log.watch(worker.record)  # it has no process
        os.write(worker.output, b"x\n" * 4096)
        start = time.monotonic()
        # Behind the first turn, and later than the end of the pause that would follow it.
        loop.after(0.0, lambda: loop.after(6 * (time.monotonic() - start), lambda: loop.stop(0)))
        loop.run()
        assert lines(caplog) == 2048

        log.drain(worker.record)
        assert lines(caplog) == 4096
        assert list(worker.record.last_lines) == ["x"] * 50
