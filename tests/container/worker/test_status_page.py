"""Status pages, written by one process and read by another."""

import os
import time
from collections.abc import Iterator

import pytest

from polyhost.container.worker.status_page import SIZE, StatusPage, WorkerState


@pytest.fixture
def page() -> Iterator[tuple[StatusPage, StatusPage]]:
    """Provide the worker's view of a page and the fork server's."""
    descriptor = StatusPage.create()
    views = StatusPage(descriptor), StatusPage(descriptor)
    os.close(descriptor)
    yield views
    for view in views:
        view.close()


Views = tuple[StatusPage, StatusPage]


def test_new_page(page: Views) -> None:
    _, server = page

    assert (server.state, server.counters, server.payload) == (WorkerState.STARTING, (0, 0), None)
    assert (server.gpu_id, server.batch_size, server.io_name) == (0, 1, "")


def test_page_outlives_the_process_that_wrote_it() -> None:
    descriptor = StatusPage.create()
    server = StatusPage(descriptor)
    pid = os.fork()
    if pid == 0:
        StatusPage(descriptor).enter_busy(["r1", "r2"])
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(descriptor)

    assert (server.state, server.payload) == (WorkerState.BUSY, ["r1", "r2"])
    server.close()


def test_since_is_when_the_state_was_entered(page: Views) -> None:
    worker, server = page
    before = time.monotonic()
    worker.enter(WorkerState.LOADING)

    assert before <= server.since <= time.monotonic()


def test_load_parameters_are_kept(page: Views) -> None:
    worker, server = page
    worker.remember_load(None, 8, "W-9000-modèle")
    assert (server.gpu_id, server.batch_size, server.io_name) == (None, 8, "W-9000-modèle")

    worker.remember_load(3, 1, "x")
    assert (server.gpu_id, server.batch_size, server.io_name) == (3, 1, "x")


def test_counters_add_up_and_survive_other_states(page: Views) -> None:
    worker, server = page
    for _ in range(3):
        worker.enter_busy(["r"])
        worker.count_reply(time.monotonic() - 0.5)
    worker.enter(WorkerState.FAILED, b'{"code": 500}')

    busy_ns, answered = server.counters
    assert answered == 3
    assert 1_500_000_000 <= busy_ns < 10_000_000_000


def test_next_state_has_no_payload_of_the_last(page: Views) -> None:
    worker, server = page
    worker.enter_busy(["a request with a long id" * 20])
    worker.enter(WorkerState.RESPONDING)

    assert server.payload is None


def test_ids_that_do_not_fit_are_omitted(page: Views) -> None:
    worker, server = page
    worker.remember_load(1, 500, "io")
    worker.enter_busy(["x" * 36] * 500)

    assert (server.state, server.payload) == (WorkerState.BUSY, [])
    assert (server.batch_size, server.io_name) == (500, "io")


def test_page_cannot_be_truncated() -> None:
    """Reading a truncated page would raise SIGBUS in the fork server."""
    descriptor = StatusPage.create()

    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 0)
    os.close(descriptor)


@pytest.mark.parametrize("garbage", [b"\xff", b"[", b"\x09", b"../", b'{"code'], ids=repr)
def test_garbage_on_a_page_is_read_safely(garbage: bytes) -> None:
    """A model's code can write anything to its page."""
    descriptor = StatusPage.create()
    server = StatusPage(descriptor)
    os.pwrite(descriptor, (garbage * SIZE)[:SIZE], 0)
    os.close(descriptor)

    assert (server.state, server.payload) == (WorkerState.READING, None)
    assert server.since == 0.0 or server.since <= time.monotonic()
    assert "/" not in server.io_name
    assert server.gpu_id is None or server.gpu_id > 0
    assert server.batch_size > 0 and min(server.counters) > 0
    server.close()
