"""Records of workers, whatever a model's code has written to the status page."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyhost.container.errors import WorkerDiedError
from polyhost.container.forkserver.records import HostedModel, ModelLifecycle, WorkerLifecycle, WorkerRecord
from polyhost.container.worker.protocol import COMPLETE_CODE
from polyhost.container.worker.status_page import WorkerState
from tests.container.records import hosted_model, recorded_worker


@pytest.fixture
def model(tmp_path: Path) -> HostedModel:
    return hosted_model(tmp_path)


@pytest.fixture
def record(model: HostedModel) -> Iterator[WorkerRecord]:
    with recorded_worker(model) as worker:
        yield worker.record


@pytest.mark.parametrize("state", [WorkerState.BUSY, WorkerState.STREAMING])
def test_current_request_counts_as_busy_once(record: WorkerRecord, state: WorkerState) -> None:
    worker = record.status
    worker.enter(state)
    since = worker.since
    time.sleep(0.05)
    running = record.busy_ns()
    assert running >= 50_000_000

    worker.enter(WorkerState.RESPONDING)
    assert record.busy_ns() == running
    worker.count_reply(since)
    assert record.busy_ns() == worker.counters[0]


def test_waiting_does_not_count_as_busy(record: WorkerRecord) -> None:
    record.status.enter(WorkerState.IDLE)
    time.sleep(0.01)

    assert record.busy_ns() == 0


@pytest.mark.parametrize("payload", [b"{", b"null", b"[1]", b'{"code": 500}', b'{"code": "x", "type": 1}', b"[" * 2000])
def test_malformed_failure_is_ignored(record: WorkerRecord, payload: bytes) -> None:
    record.status.enter(WorkerState.FAILED, payload)

    assert record.failure() is None


@pytest.mark.parametrize("payload", [b"{", b'{"a": 1}', b"7", b"[1, 2]"])
def test_malformed_request_ids_get_no_reply(record: WorkerRecord, payload: bytes) -> None:
    record.status.enter(WorkerState.BUSY, payload)

    assert not record.fail_requests(WorkerDiedError("died"), COMPLETE_CODE)


def test_close_removes_no_file_outside_the_io_folder(record: WorkerRecord, tmp_path: Path) -> None:
    (tmp_path / "io").mkdir()
    outside, inside = tmp_path / "other-stdout", tmp_path / "io" / "other-stdout"
    for file in (outside, inside):
        file.touch()
    record.status.remember_load(None, 1, "../other")
    record.close(hang_up=True)

    assert (outside.exists(), inside.exists()) == (True, False)


def test_released_worker_cannot_be_released_again(record: WorkerRecord) -> None:
    record.close(hang_up=True)

    with pytest.raises(AssertionError):
        record.close(hang_up=True)


def test_worker_that_has_ended_cannot_run_again(record: WorkerRecord) -> None:
    for lifecycle in (WorkerLifecycle.FORKING, WorkerLifecycle.RUNNING, WorkerLifecycle.ENDED):
        record.enter(lifecycle)

    with pytest.raises(AssertionError):
        record.enter(WorkerLifecycle.RUNNING)


def test_model_is_closed_after_its_last_worker(model: HostedModel, record: WorkerRecord) -> None:
    model.workers[record.sequence] = record
    model.enter(ModelLifecycle.CLOSING)
    assert not model.can_be_closed

    del model.workers[record.sequence]
    assert model.can_be_closed
