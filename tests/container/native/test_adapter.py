"""A real fork server with the test as its front end: whatever fails is reported, so that no request hangs."""

import os
import resource
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
from polyhost.container.log import LogDescriptors
from tests.support.container import ROOT
from tests.support.processes import peak_memory


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
        self._collector, collectors_end = Channel.pair()
        inherited = [LogDescriptors.shared().lock, collectors_end.fileno(), theirs.fileno()]
        command = [
            sys.executable,
            "-m",
            "polyhost.container.forkserver",
            str(folder),
            *map(str, inherited),
            "",
            config.to_json(),
        ]
        with theirs.socket, collectors_end.socket:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, cwd=ROOT, pass_fds=inherited, stdout=subprocess.DEVNULL
            )
        os.close(inherited[0])

    def close(self) -> None:
        self.channel.close()
        self._collector.close()
        self.process.terminate()
        self.process.communicate(timeout=30)

    def send(self, message: Message, *descriptors: int) -> None:
        self.channel.send(message, descriptors)

    def receive(self) -> Message:
        received = self.channel.receive()
        assert received is not None
        return received[0]

    def add_worker(self, key: int) -> socket.socket:
        """Ask for a worker; return the front end's end of its connection."""
        ours, workers = socket.socketpair()
        ours.settimeout(30)
        with workers:
            self.send(AddWorker(key, connection=7), workers.fileno())
        return ours


@pytest.fixture
def fork_server(tmp_path: Path) -> Iterator[ForkServer]:
    started = ForkServer(tmp_path)
    started.send(Heartbeat(1))
    assert started.receive() == Heartbeat(1)
    yield started
    started.close()


def test_worker_of_an_unknown_model_is_rejected(fork_server: ForkServer) -> None:
    with fork_server.add_worker(key=5) as connection:
        lost = fork_server.receive()

        assert isinstance(lost, WorkerLost)
        assert (lost.connection, lost.failure.phase) == (7, "load")
        assert connection.recv(1) == b""


def test_worker_of_a_model_that_could_not_be_opened_is_rejected(fork_server: ForkServer) -> None:
    """The model's temp folder cannot be created, as on a full disk."""
    shutil.rmtree(fork_server.temp_dir)
    fork_server.send(OpenModel(5, ModelRef("m", str(ROOT), ""), 60.0))
    with fork_server.add_worker(key=5) as connection:
        lost = fork_server.receive()

        assert isinstance(lost, WorkerLost)
        assert (lost.failure.code, lost.failure.type, lost.failure.model) == (507, "FileNotFoundError", "m")
        assert connection.recv(1) == b""


def test_unknown_model_is_closed_at_once(fork_server: ForkServer) -> None:
    fork_server.send(CloseModel(5))
    assert fork_server.receive() == ModelClosed(5)


def test_worker_without_descriptors_is_rejected(fork_server: ForkServer) -> None:
    fork_server.send(OpenModel(5, ModelRef("m", str(ROOT), ""), 60.0))
    fork_server.send(AddWorker(5, connection=7))
    lost = fork_server.receive()
    assert isinstance(lost, WorkerLost)
    assert (lost.failure.code, lost.connection) == (507, 7)


def test_fork_server_ends_with_its_channel(fork_server: ForkServer) -> None:
    """The supervisor starts another then, with a channel of its own."""
    fork_server.channel.close()
    assert fork_server.process.wait(30) == 1


MB = 1 << 20

# What a parser needs gigabytes for, or minutes; and innocent files of the same kind.
LARGE_MODELS = [
    {"inference.py": "x = a" + "[0]" * (12 * MB)},
    {"inference.py": "x = [" + "1, " * (3 * MB) + "]"},
    {"inference.py": "x = " + "(" * (9 * MB)},
    {"own.py": "x = a" + "[0]" * (12 * MB), "MAR-INF/MANIFEST.json": '{"model": {"handler": "own.py:handle"}}'},
    {"MAR-INF/MANIFEST.json": "[" + "[], " * (9 * MB) + "[]]"},
    {"MAR-INF/MANIFEST.json": '{"model": {"handler": "' + "a." * (9 * MB) + ':handle"}}'},
    {f"{number}.txt": "" for number in range(20_000)},
]


@pytest.mark.parametrize("number", range(len(LARGE_MODELS)))
def test_no_model_ends_the_fork_server_by_what_it_contains(
    fork_server: ForkServer, tmp_path: Path, number: int
) -> None:
    """It may have 300 MB of memory here, and takes far less."""
    resource.prlimit(fork_server.process.pid, resource.RLIMIT_AS, (300 * MB, 300 * MB))
    for name, text in LARGE_MODELS[number].items():
        path = tmp_path / "models" / "m" / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for key in range(1, 4):
        fork_server.send(OpenModel(key, ModelRef("m", str(tmp_path / "models" / "m" / "model"), ""), 60.0))
        fork_server.send(CloseModel(key))
        assert fork_server.receive() == ModelClosed(key)
    assert fork_server.process.poll() is None
    assert peak_memory(fork_server.process.pid) < 100 * MB


def test_model_that_ended_two_fork_servers_is_rejected(fork_server: ForkServer, tmp_path: Path) -> None:
    (tmp_path / "attempts" / "5").write_bytes(b"..")
    fork_server.send(OpenModel(5, ModelRef("m", str(ROOT), ""), 60.0))
    with fork_server.add_worker(key=5) as connection:
        lost = fork_server.receive()

        assert isinstance(lost, WorkerLost)
        assert (lost.failure.code, lost.failure.type, lost.failure.model) == (500, "ForkServerDiedError", "m")
        assert "died 2 times while it opened this model" in lost.failure.message
        assert connection.recv(1) == b""
