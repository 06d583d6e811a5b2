"""What the fork server makes of a worker's page and connection, whatever the worker has left there."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyhost.container.errors import WorkerDiedError
from polyhost.container.forkserver.records import HostedModel, WorkerRecord
from polyhost.container.system.line_reader import Lines
from polyhost.container.worker.status_page import StatusPage, WorkerState


@pytest.fixture
def model(tmp_path: Path) -> HostedModel:
    return HostedModel(
        key=1,
        name="m",
        directory=tmp_path,
        handler="handle.py",
        temp_dir=tmp_path / "temp",
        io_dir=str(tmp_path / "io"),
        response_timeout_s=60,
        framework="bare",
    )


@pytest.fixture
def record(model: HostedModel) -> Iterator[WorkerRecord]:
    ours, theirs = socket.socketpair()
    reader, writer = os.pipe()
    os.close(writer)
    page = StatusPage.create()
    made = WorkerRecord(
        sequence=1,
        model=model,
        connection=ours,
        status=StatusPage(page),
        output=Lines(reader),
        descriptors=(),
        need=0,
        reload=False,
    )
    os.close(page)
    yield made
    if not made.closed:
        made.close(hang_up=True)
    theirs.close()


@pytest.mark.parametrize("state", [WorkerState.BUSY, WorkerState.STREAMING])
def test_a_request_in_hand_counts_while_it_runs_and_once(record: WorkerRecord, state: WorkerState) -> None:
    worker = record.status
    worker.enter(state)
    since = worker.since
    time.sleep(0.05)
    running = record.busy_ns()
    assert running >= 50_000_000

    worker.enter(WorkerState.RESPONDING)
    assert record.busy_ns() == running
    worker.answered(since)
    assert record.busy_ns() == worker.counters[0]


def test_waiting_is_not_being_busy(record: WorkerRecord) -> None:
    record.status.enter(WorkerState.IDLE)
    time.sleep(0.01)

    assert record.busy_ns() == 0


@pytest.mark.parametrize("payload", [b"{", b"null", b"[1]", b'{"code": 500}', b'{"code": "x", "type": 1}', b"[" * 2000])
def test_a_failure_that_is_none_is_no_failure(record: WorkerRecord, payload: bytes) -> None:
    record.status.enter(WorkerState.FAILED, payload)

    assert record.failure() is None


@pytest.mark.parametrize("payload", [b"{", b'{"a": 1}', b"7", b"[1, 2]"])
def test_request_ids_that_are_none_are_not_answered(record: WorkerRecord, payload: bytes) -> None:
    record.status.enter(WorkerState.BUSY, payload)

    assert not record.answer_requests(WorkerDiedError("gone"))


def test_no_file_outside_its_folder_is_removed(record: WorkerRecord, tmp_path: Path) -> None:
    (tmp_path / "io").mkdir()
    other, its_own = tmp_path / "other-stdout", tmp_path / "io" / "other-stdout"
    for file in (other, its_own):
        file.touch()
    record.status.remember_load(None, 1, "../other")
    record.close(hang_up=True)

    assert (other.exists(), its_own.exists()) == (True, False)
