"""A real zygote: imports once, forks on request, and reports each worker's start and exit."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from polyhost.container.control_protocol import ForkRequest, ModelRef, Ready, Started
from polyhost.container.forkserver.zygote.handle import ZygoteHandle
from tests.container.conftest import ForkWorker, MakeModel
from tests.container.forking import Forks, descriptors_of, new_descriptors, opened_since, zygote_in
from tests.support.waiting import wait_for

WAITS_FOR_A_FILE = """
import os, time

def wait():
    while not os.path.exists(os.environ["GO"]):
        time.sleep(0.01)
"""
STARTS_A_THREAD = """
import threading, time

def run():
    with open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as name:
        name.write("background")
    started.set()
    time.sleep(1000)

started = threading.Event()
threading.Thread(target=run, daemon=True).start()
started.wait()
"""


def test_failed_steps_are_reported_and_others_run(forks: Forks) -> None:
    assert list(forks.ready.failures) == ["no_such_module", "statistics:no_such_function"]
    assert "ModuleNotFoundError" in forks.ready.failures["no_such_module"]


def test_worker_has_the_imports_of_its_zygote(worker: ForkWorker) -> None:
    loaded = worker("""
        import sys
        found = [name in sys.modules for name in ("json.tool", "xmlrpc.client")]
        def handle(data, context):
            return [found] if data else None
    """).loaded()

    assert loaded.invoke().predictions[0].body.split() == [b"[", b"true,", b"false", b"]"]


@pytest.fixture
def warming_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Forks]:
    """Run a zygote whose warm-up lasts until the file `go` is there, and whose models are in tmp_path/models/m."""
    (tmp_path / "warming_up.py").write_text(WAITS_FOR_A_FILE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("GO", str(tmp_path / "go"))
    model = tmp_path / "models" / "m"
    model.mkdir(parents=True)
    (model / "handle.py").write_text("def handle(data, context): return ['predicted'] if data else None")
    with zygote_in(tmp_path, "json.tool", warm_ups=("warming_up:wait",)) as zygote:
        yield Forks(zygote, tmp_path)


def test_first_request_does_not_wait_for_the_warm_ups(warming_up: Forks, tmp_path: Path) -> None:
    first = warming_up.fork(tmp_path / "models" / "m").loaded()
    assert first.invoke().predictions[0].body == b"predicted"
    warming_up.zygote.fork(request_in(tmp_path, 2), new_descriptors())
    assert not warming_up.zygote.has_message()

    (tmp_path / "go").touch()
    assert warming_up.ready.failures == {}
    assert not warming_up.wait_for(Started, 2).early
    assert first.invoke().predictions[0].body == b"predicted"
    os.kill(first.pid, signal.SIGTERM)
    assert first.wait_for_end() == -signal.SIGTERM
    first.close()


def test_first_worker_says_that_it_is_early(warming_up: Forks, tmp_path: Path) -> None:
    warming_up.zygote.fork(request_in(tmp_path, 1), new_descriptors())

    assert warming_up.wait_for(Started, 1).early
    (tmp_path / "go").touch()


def test_exit_during_the_warm_ups_is_reported_after_them(warming_up: Forks, tmp_path: Path) -> None:
    first = warming_up.fork(tmp_path / "models" / "m").loaded()
    os.kill(first.pid, signal.SIGKILL)
    wait_for(lambda: psutil.Process(first.pid).status() == psutil.STATUS_ZOMBIE, "the worker's end")

    (tmp_path / "go").touch()
    assert first.wait_for_end() == -signal.SIGKILL
    first.close()


def test_zygote_is_single_threaded(forks: Forks) -> None:
    assert len(list(Path(f"/proc/{forks.zygote.process.pid}/task").iterdir())) == 1


def test_other_threads_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "starts_a_thread.py").write_text(STARTS_A_THREAD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "models").mkdir()
    with zygote_in(tmp_path, "starts_a_thread") as zygote:
        assert Forks(zygote, tmp_path).ready.failures == {}
        (event,) = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if "threads" in line]
    assert (event["level"], event["message"]) == (
        "WARNING",
        "zygote test has other threads after its imports (background): its forks may hang; let what starts them start"
        " none, or leave it out of POLYHOST_PRELOAD",
    )


@pytest.mark.parametrize(("code", "exit_code"), [("os._exit(3)", 3), ("os.kill(os.getpid(), 9)", -9)])
def test_each_exit_is_reported_and_reaped(forks: Forks, worker: ForkWorker, code: str, exit_code: int) -> None:
    forked = worker(f"import os\ndef handle(data, context): {code}")
    forked.send_load()

    assert forked.wait_for_end() == exit_code
    assert not Path(f"/proc/{forked.pid}").exists()


def test_simultaneous_exits_are_all_reported(forks: Forks, make_model: MakeModel) -> None:
    directory = make_model("")
    workers = [forks.fork(directory) for _ in range(10)]
    for forked in workers:
        os.kill(forked.pid, signal.SIGKILL)

    assert [forked.wait_for_end() for forked in workers] == [-9] * 10
    for forked in workers:
        forked.close()


def test_workers_draw_different_random_numbers(worker: ForkWorker, forks: Forks, make_model: MakeModel) -> None:
    directory = make_model("""
        import random
        def handle(data, context):
            return [str(random.random())] if data else None
    """)
    workers = [forks.fork(directory).loaded() for _ in range(2)]

    assert len({forked.invoke().predictions[0].body for forked in workers}) == 2
    for forked in workers:
        forked.close()


def test_zygote_keeps_no_descriptor_that_it_passed_on(forks: Forks, worker: ForkWorker) -> None:
    zygote = psutil.Process(forks.zygote.process.pid)
    worker().loaded()
    wait_for_spare(zygote)  # which holds a channel
    before = descriptors_of(zygote.pid)
    for _ in range(6):
        worker().loaded()
        wait_for_spare(zygote)

    # The spare's channel may just be open or not, at both times.
    wait_for(lambda: len(descriptors_of(zygote.pid)) <= len(before) + 2, "hardly more descriptors than before")


def wait_for_spare(zygote: psutil.Process) -> None:
    """Wait until the zygote has a spare, which has not left its session as a worker has."""
    session = os.getsid(zygote.pid)
    wait_for(lambda: any(os.getsid(child.pid) == session for child in zygote.children()), "a spare")


def test_worker_holds_only_its_own_descriptors(worker: ForkWorker) -> None:
    worker().loaded()
    forked = worker().loaded()
    links = descriptors_of(forked.pid)

    assert sum(link.startswith("socket:") for link in links) == 2  # to the front end and to the log collector
    assert [link.split()[0] for link in links if link.startswith("/memfd:")] == ["/memfd:polyhost-status"]
    assert not [link for link in links if link.endswith("/log")]


def test_worker_ignores_sigint_and_ends_with_sigterm(worker: ForkWorker) -> None:
    forked = worker().loaded()
    os.kill(forked.pid, signal.SIGINT)  # Ctrl-C at a terminal reaches all; the entry point acts on it
    assert forked.invoke().code == 200

    os.kill(forked.pid, signal.SIGTERM)
    assert forked.wait_for_end() == -signal.SIGTERM


def request_in(folder: Path, sequence: int) -> ForkRequest:
    return ForkRequest(sequence, ModelRef("m", str(folder), "handle.py"), str(folder), str(folder))


def received_kinds(zygote: ZygoteHandle, count: int) -> list[str]:
    zygote.channel.socket.settimeout(30)
    messages = [zygote.channel.receive() for _ in range(count)]
    return [type(message[0]).__name__ for message in messages if message]


def test_request_is_sent_again_to_a_restarted_zygote(tmp_path: Path) -> None:
    with zygote_in(tmp_path) as zygote:
        zygote.process.kill()
        zygote.process.wait()
        zygote.fork(request_in(tmp_path, 1), new_descriptors())
        zygote.disconnect()
        zygote.restart()

        # The front end has hung up, so the worker ends at once.
        assert received_kinds(zygote, 3) == ["Started", "Ready", "Exited"]


def test_completed_request_is_forgotten_once(tmp_path: Path) -> None:
    with zygote_in(tmp_path) as zygote:
        before = descriptors_of()
        zygote.fork(request_in(tmp_path, 1), new_descriptors())
        zygote.complete(1)
        zygote.complete(1)

        assert zygote.in_flight == {}
        assert not opened_since(before)


def test_zygote_ends_with_the_fork_server(tmp_path: Path) -> None:
    with zygote_in(tmp_path) as zygote:
        zygote.close()

        assert zygote.process.wait(30) == 0


def test_module_that_exits_on_import_is_a_failed_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "leaves_early.py").write_text("import sys; sys.exit('no licence')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with zygote_in(tmp_path, "leaves_early") as zygote:
        received = zygote.channel.receive()

        assert received is not None and isinstance(received[0], Ready)
        assert received[0].failures == {"leaves_early": "SystemExit: no licence"}


def test_long_reason_of_a_failed_step_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "complains.py").write_text("raise ImportError('x' * 70_000)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with zygote_in(tmp_path, "complains") as zygote:
        assert received_kinds(zygote, 1) == ["Ready"]


def test_zygote_survives_a_malformed_request(tmp_path: Path) -> None:
    with zygote_in(tmp_path) as zygote:
        zygote.channel.socket.send(b"x" * 70_000)
        zygote.fork(request_in(tmp_path, 1), new_descriptors())

        assert received_kinds(zygote, 3) == ["Ready", "Started", "Exited"]


def test_failing_fork_of_a_spare_is_retried_slowly(tmp_path: Path) -> None:
    with zygote_in(tmp_path) as zygote:
        assert received_kinds(zygote, 1) == ["Ready"]
        process = psutil.Process(zygote.process.pid)
        (spare,) = wait_for(process.children, "a spare")
        limits = process.rlimit(psutil.RLIMIT_NOFILE)
        process.rlimit(psutil.RLIMIT_NOFILE, (3, limits[1]))
        spare.kill()
        wait_for(lambda: "no spare worker" in (tmp_path / "log").read_text(), "a warning")
        time.sleep(0.3)
        assert (tmp_path / "log").read_text().count("no spare worker") == 1

        process.rlimit(psutil.RLIMIT_NOFILE, limits)
        wait_for(process.children, "another spare")


def test_handle_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = descriptors_of()
    with zygote_in(tmp_path) as zygote:
        zygote.fork(request_in(tmp_path, 1), new_descriptors())

    assert not opened_since(before)
