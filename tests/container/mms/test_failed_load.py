"""A load rejected with 507: the reply comes after Java has noticed the launcher's end, or never."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from polyhost.container.errors import Failure
from polyhost.container.forkserver.records import HostedModel, WorkerLifecycle, WorkerRecord
from polyhost.container.mms.failed_load import RejectedLoad, RejectionState
from polyhost.container.mms.launcher import Launcher
from polyhost.container.system.event_loop import EventLoop
from tests.container.mms_side import ReplyReader
from tests.container.records import RecordedWorker, hosted_model, recorded_worker
from tests.support.waiting import wait_for

FAILURE = Failure(507, "MemoryError", "not enough memory", "m", "load")


class HostStub:
    """A host that only holds rejected loads."""

    def attempt(self, key: int) -> AbstractContextManager[None]:
        raise NotImplementedError

    def framework_of(self, directory: str, handler: str) -> str:
        raise NotImplementedError

    def make_temp_dir(self, key: int) -> Path:
        raise NotImplementedError

    def add_model(self, model: HostedModel) -> None:
        raise NotImplementedError

    def add_worker(self, model: HostedModel, connection: socket.socket, number: int = 0) -> None:
        raise NotImplementedError

    def add_survivor(self, model: HostedModel, connection: socket.socket, number: int, page: int, pid: int) -> None:
        raise NotImplementedError

    def close_model(self, model: HostedModel) -> None:
        raise NotImplementedError

    def hold_rejected(self, worker: WorkerRecord) -> None:
        worker.enter(WorkerLifecycle.REJECTED)

    def release(self, worker: WorkerRecord) -> None:
        raise NotImplementedError

    def resize(self, model: HostedModel, workers: int) -> None:
        raise NotImplementedError


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[RecordedWorker]:
    with recorded_worker(hosted_model(tmp_path)) as made:
        yield made


@pytest.fixture
def launcher_process(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a launcher; the test holds its stdin open, as Java does until it has noticed the end."""
    process = subprocess.Popen(["sleep", "60"], stdin=subprocess.PIPE)
    wait_for(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n", "its exec")
    names = ("--sock-name", "--handler", "--model-path", "--model-name", "--tmp-dir")
    words = ["script", *(word for name in names for word in (name, "x"))]
    (tmp_path / "launches").mkdir()
    (tmp_path / "launches" / str(process.pid)).write_bytes(b"".join(word.encode() + b"\0" for word in words))
    yield process
    process.kill()
    process.communicate()


def run_for(loop: EventLoop, seconds: float) -> None:
    loop._exit = None
    loop.after(seconds, lambda: loop.stop(0))
    loop.run()


def test_reply_is_sent_once_java_has_noticed(
    tmp_path: Path, worker: RecordedWorker, launcher_process: subprocess.Popen[bytes]
) -> None:
    loop = EventLoop()
    launcher = Launcher(tmp_path, launcher_process.pid)
    load = RejectedLoad(loop, worker.record, FAILURE)
    load.start(HostStub(), launcher)
    launcher_process.wait()
    run_for(loop, 0.1)
    before = load.state
    assert before is RejectionState.KILLING

    assert launcher_process.stdin is not None
    launcher_process.stdin.close()
    run_for(loop, 0.1)
    assert load.state is RejectionState.REPLIED
    reply = ReplyReader(worker.front_end).read()
    assert (reply.code, reply.message) == (507, "not enough memory")
    launcher.close()


def test_no_reply_after_mms_has_hung_up(
    tmp_path: Path, worker: RecordedWorker, launcher_process: subprocess.Popen[bytes]
) -> None:
    loop = EventLoop()
    launcher = Launcher(tmp_path, launcher_process.pid)
    load = RejectedLoad(loop, worker.record, FAILURE)
    load.start(HostStub(), launcher)
    worker.record.close(hang_up=True)
    assert launcher_process.stdin is not None
    launcher_process.stdin.close()
    run_for(loop, 0.1)

    assert load.state is RejectionState.NOT_NEEDED
    launcher.close()


def test_reply_is_sent_at_once_if_the_launcher_has_ended(
    tmp_path: Path, worker: RecordedWorker, launcher_process: subprocess.Popen[bytes]
) -> None:
    launcher = Launcher(tmp_path, launcher_process.pid)
    os.kill(launcher_process.pid, 9)
    launcher_process.wait()
    load = RejectedLoad(EventLoop(), worker.record, FAILURE)
    load.start(HostStub(), launcher)

    assert load.state is RejectionState.REPLIED
    assert ReplyReader(worker.front_end).read().code == 507
    launcher.close()
