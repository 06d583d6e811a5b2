"""The adapter of MMS, with real launchers: one whose model ended two fork servers is failed."""

import os
import socket
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

from polyhost.container.config import Config
from polyhost.container.forkserver.attempts import Attempts
from polyhost.container.forkserver.records import HostedModel, ModelLifecycle
from polyhost.container.mms.adapter import MmsAdapter
from polyhost.container.mms.launcher import FIFO, recorded_pids
from polyhost.container.system.event_loop import EventLoop
from tests.container.mms.test_failed_load import HostStub
from tests.container.mms.test_launcher import ARGUMENTS, Start, process, run_dir, sleeping, write_record

__all__ = ["process", "run_dir"]


class AttemptingHost(HostStub):
    """A host that takes note of the models that it opens."""

    def __init__(self, run_dir: Path) -> None:
        self._attempts = Attempts(run_dir / "attempts")
        self._run_dir = run_dir
        self.opened: list[HostedModel] = []

    def attempt(self, key: int) -> AbstractContextManager[None]:
        return self._attempts.attempt(key)

    def make_temp_dir(self, key: int) -> Path:
        return self._run_dir / "tmp"

    def framework_of(self, directory: str, handler: str) -> str:
        return "bare"

    def add_model(self, model: HostedModel) -> None:
        self.opened.append(model)

    def add_worker(self, model: HostedModel, connection: socket.socket, number: int = 0) -> None:
        raise NotImplementedError


def recorded(run_dir: Path, start: Start, number: int) -> subprocess.Popen[bytes]:
    launcher = sleeping(start)
    arguments = list(ARGUMENTS)
    arguments[4] = str(run_dir / f".mms.sock.{number}")
    write_record(run_dir, launcher.pid, *arguments)
    return launcher


def test_launcher_of_a_model_that_ended_two_fork_servers_is_failed(run_dir: Path, process: Start) -> None:
    deadly, innocent = (recorded(run_dir, process, number) for number in range(2))
    (run_dir / "tmp").mkdir()
    os.mkfifo(run_dir / FIFO)
    host = AttemptingHost(run_dir)
    (run_dir / "attempts" / str(deadly.pid)).write_bytes(b"..")
    config = Config.from_environ({"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_BASE_DIR": str(run_dir)})
    loop = EventLoop()
    MmsAdapter(host, loop, config, run_dir).start()

    assert deadly.wait(30) != 0
    assert deadly.stderr is not None
    assert b"the fork server died 2 times while it opened this model" in deadly.stderr.read()
    assert [model.key for model in host.opened] == [innocent.pid]
    assert innocent.poll() is None
    assert recorded_pids(run_dir) == [innocent.pid]
    for model in host.opened:
        model.enter(ModelLifecycle.CLOSING)
        model.close()
