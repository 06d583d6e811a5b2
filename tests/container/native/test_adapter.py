"""A real fork server, whose front end is the test: what it cannot do is said, and nothing waits for ever."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyhost.container.config import Config
from polyhost.container.control_protocol import (
    AddWorker,
    Channel,
    CloseModel,
    Heartbeat,
    Message,
    ModelClosed,
    ModelRef,
    OpenModel,
    WorkerLost,
)
from tests.container_process import ROOT


class ForkServer:
    def __init__(self, folder: Path) -> None:
        environ = {"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_BASE_DIR": str(folder), "POLYHOST_FRONTEND": "native"}
        config = Config.from_environ(
            {**environ, "POLYHOST_ZYGOTES": "bare", "POLYHOST_STATE_DIR": str(folder / "state")}
        )
        self.temp_dir = folder / "tmp"
        self.temp_dir.mkdir()
        self.channel, theirs = Channel.pair()
        self.channel.socket.settimeout(30)
        command = [
            sys.executable,
            "-m",
            "polyhost.container.forkserver",
            str(folder),
            "1",
            str(theirs.fileno()),
            config.to_json(),
        ]
        with theirs.socket:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, cwd=ROOT, pass_fds=[theirs.fileno()], stdout=subprocess.DEVNULL
            )

    def close(self) -> None:
        self.channel.close()
        self.process.terminate()
        self.process.communicate(timeout=30)

    def say(self, message: Message, *descriptors: int) -> None:
        self.channel.send(message, descriptors)

    def hear(self) -> Message:
        received = self.channel.receive()
        assert received is not None
        return received[0]

    def add_worker(self, key: int) -> socket.socket:
        """The front end's end, for which no worker comes."""
        ours, workers = socket.socketpair()
        ours.settimeout(30)
        with workers:
            self.say(AddWorker(key, connection=7), workers.fileno())
        return ours


@pytest.fixture
def fork_server(tmp_path: Path) -> Iterator[ForkServer]:
    started = ForkServer(tmp_path)
    started.say(Heartbeat(1))
    assert started.hear() == Heartbeat(1)
    yield started
    started.close()


def test_a_worker_for_a_model_that_it_does_not_know(fork_server: ForkServer) -> None:
    with fork_server.add_worker(key=5) as connection:
        lost = fork_server.hear()

        assert isinstance(lost, WorkerLost)
        assert (lost.connection, lost.failure.phase) == (7, "load")
        assert connection.recv(1) == b""


def test_a_model_that_it_cannot_take_in(fork_server: ForkServer) -> None:
    """Here its temp folder cannot be made; the same is true of a full disk."""
    shutil.rmtree(fork_server.temp_dir)
    fork_server.say(OpenModel(5, ModelRef("m", str(ROOT), ""), 60.0))
    with fork_server.add_worker(key=5) as connection:
        lost = fork_server.hear()

        assert isinstance(lost, WorkerLost)
        assert (lost.failure.code, lost.failure.type, lost.failure.model) == (507, "FileNotFoundError", "m")
        assert connection.recv(1) == b""


def test_an_unload_of_a_model_that_it_does_not_know(fork_server: ForkServer) -> None:
    fork_server.say(CloseModel(5))
    assert fork_server.hear() == ModelClosed(5)


def test_without_descriptors_nobody_waits_for_a_worker(fork_server: ForkServer) -> None:
    fork_server.say(OpenModel(5, ModelRef("m", str(ROOT), ""), 60.0))
    fork_server.say(AddWorker(5, connection=7))
    lost = fork_server.hear()
    assert isinstance(lost, WorkerLost)
    assert (lost.failure.code, lost.connection) == (507, 7)


def test_it_ends_with_its_channel(fork_server: ForkServer) -> None:
    """Then the supervisor starts another, with a channel of its own."""
    fork_server.channel.close()
    assert fork_server.process.wait(30) == 1
