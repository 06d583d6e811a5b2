"""A real zygote: imports once, forks on request, and tells of each worker's beginning and end."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from polyhost.container.control_protocol import ForkRequest, ModelRef, Ready
from polyhost.container.forkserver.zygote.handle import ZygoteHandle
from tests.container.conftest import ForkWorker, MakeModel
from tests.container.forking import Forks, descriptors_of, new_descriptors, zygote_in
from tests.container_process import wait_for


def test_what_cannot_be_imported_is_told_and_harms_nothing_else(forks: Forks) -> None:
    assert list(forks.ready.failures) == ["no_such_module", "statistics:no_such_function"]
    assert "ModuleNotFoundError" in forks.ready.failures["no_such_module"]


def test_a_worker_finds_the_imports_done(worker: ForkWorker) -> None:
    loaded = worker("""
        import sys
        found = [name in sys.modules for name in ("json.tool", "xmlrpc.client")]
        def handle(data, context):
            return [found] if data else None
    """).loaded()

    assert loaded.invoke().predictions[0].body.split() == [b"[", b"true,", b"false", b"]"]


def test_it_is_single_threaded(forks: Forks) -> None:
    assert len(list(Path(f"/proc/{forks.zygote.process.pid}/task").iterdir())) == 1


@pytest.mark.parametrize(("code", "exit_code"), [("os._exit(3)", 3), ("os.kill(os.getpid(), 9)", -9)])
def test_each_end_is_told_and_no_zombie_stays(forks: Forks, worker: ForkWorker, code: str, exit_code: int) -> None:
    forked = worker(f"import os\ndef handle(data, context): {code}")
    forked.send_load()

    assert forked.wait_for_end() == exit_code
    assert not Path(f"/proc/{forked.pid}").exists()


def test_many_ends_at_once_are_all_told(forks: Forks, make_model: MakeModel) -> None:
    directory = make_model("")
    workers = [forks.fork(directory) for _ in range(10)]
    for forked in workers:
        os.kill(forked.pid, signal.SIGKILL)

    assert [forked.wait_for_end() for forked in workers] == [-9] * 10
    for forked in workers:
        forked.close()


def test_workers_share_nothing_random(worker: ForkWorker, forks: Forks, make_model: MakeModel) -> None:
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
    worker().loaded()
    wait_for_spare(zygote)

    wait_for(lambda: len(descriptors_of(zygote.pid)) == len(before), "as many descriptors as before")


def wait_for_spare(zygote: psutil.Process) -> None:
    """A worker leads a session of its own, and a spare does not."""
    session = os.getsid(zygote.pid)
    wait_for(lambda: any(os.getsid(child.pid) == session for child in zygote.children()), "a spare")


def test_a_worker_holds_nothing_but_its_own(worker: ForkWorker) -> None:
    worker().loaded()
    forked = worker().loaded()
    sockets = [link for link in descriptors_of(forked.pid) if link.startswith("socket:")]

    assert len(sockets) == 1
    assert sum(link.startswith("/memfd:") for link in descriptors_of(forked.pid)) == 1


def test_signals_mean_to_a_worker_what_they_mean_to_any_process(worker: ForkWorker) -> None:
    forked = worker().loaded()
    os.kill(forked.pid, signal.SIGINT)  # Ctrl-C at a terminal reaches all; the entry point acts on it
    assert forked.invoke().code == 200

    os.kill(forked.pid, signal.SIGTERM)
    assert forked.wait_for_end() == -signal.SIGTERM


def request_in(folder: Path, sequence: int) -> ForkRequest:
    return ForkRequest(sequence, ModelRef("m", str(folder), "handle.py"), str(folder), str(folder))


def heard(zygote: ZygoteHandle, count: int) -> list[str]:
    zygote.channel.socket.settimeout(30)
    messages = [zygote.channel.receive() for _ in range(count)]
    return [type(message[0]).__name__ for message in messages if message]


def test_a_request_outlives_the_zygote_that_it_was_sent_to(tmp_path: Path) -> None:
    with zygote_in(tmp_path) as zygote:
        zygote.process.kill()
        zygote.process.wait()
        zygote.fork(request_in(tmp_path, 1), new_descriptors())
        zygote.disconnect()
        zygote.restart()

        assert heard(zygote, 3) == ["Ready", "Started", "Exited"]  # MMS has hung up, so it ends at once


def test_a_request_to_a_zygote_that_still_imports_waits(tmp_path: Path) -> None:
    with zygote_in(tmp_path) as zygote:
        zygote.fork(request_in(tmp_path, 1), new_descriptors())

        assert heard(zygote, 3) == ["Ready", "Started", "Exited"]


def test_a_request_that_has_begun_is_not_sent_again(tmp_path: Path) -> None:
    with zygote_in(tmp_path) as zygote:
        before = len(descriptors_of())
        zygote.fork(request_in(tmp_path, 1), new_descriptors())
        zygote.complete(1)
        zygote.complete(1)

        assert zygote.in_flight == {}
        assert len(descriptors_of()) == before


def test_it_ends_when_the_fork_server_does(tmp_path: Path) -> None:
    with zygote_in(tmp_path) as zygote:
        zygote.close()

        assert zygote.process.wait(30) == 0


def test_a_module_that_exits_on_import_is_one_that_cannot_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leaves_early.py").write_text("import sys; sys.exit('no licence')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with zygote_in(tmp_path, "leaves_early") as zygote:
        received = zygote.channel.receive()

        assert received is not None and isinstance(received[0], Ready)
        assert received[0].failures == {"leaves_early": "SystemExit: no licence"}


def test_a_long_reason_does_not_keep_it_from_being_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "complains.py").write_text("raise ImportError('x' * 70_000)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with zygote_in(tmp_path, "complains") as zygote:
        assert heard(zygote, 1) == ["Ready"]


def test_what_is_no_request_does_not_end_it(tmp_path: Path) -> None:
    with zygote_in(tmp_path) as zygote:
        zygote.channel.socket.send(b"x" * 70_000)
        zygote.fork(request_in(tmp_path, 1), new_descriptors())

        assert heard(zygote, 3) == ["Ready", "Started", "Exited"]


def test_a_spare_that_cannot_be_had_is_waited_for_in_peace(tmp_path: Path) -> None:
    with zygote_in(tmp_path) as zygote:
        assert heard(zygote, 1) == ["Ready"]
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


def test_a_zygote_leaves_no_descriptor_behind(tmp_path: Path) -> None:
    before = len(descriptors_of())
    with zygote_in(tmp_path) as zygote:
        zygote.fork(request_in(tmp_path, 1), new_descriptors())

    assert len(descriptors_of()) == before
