"""The servers that are compared, each as a process of its own with a folder of its own; ended without a trace."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.api import AnswerError, Api

ROOT = Path(__file__).parent.parent
STOCK = ROOT / "benchmarks" / "stock"
START_S = 60.0
STOP_S = 15.0
POLL_S = 0.005
_SERVE = [sys.executable, str(ROOT / "container" / "image" / "dockerd-entrypoint.py"), "serve"]
INHERITED = ("PATH", "HOME", "JAVA_HOME", "LANG")


class ServerError(Exception):
    """The server did not start or did not end; the message ends with its last words."""


@dataclass(frozen=True)
class Stack:
    """How to start one of them for models of one framework; `environ` comes on top of what all get."""

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]


def stock(python: Path, framework: str) -> Stack:
    """Its container has one handler, so each framework needs a container of its own."""
    path = os.pathsep.join([str(python.parent), os.environ.get("PATH", os.defpath)])
    handler = f"{STOCK / framework}_handler.py:handle"
    return Stack("stock", [str(python), str(STOCK / "serve.py")], {"PATH": path, "SAGEMAKER_HANDLER": handler})


def polyhost(**environ: str) -> Stack:
    """On MMS, with its defaults: it is ready for every framework that is installed, whatever is measured."""
    return Stack("polyhost", _SERVE, environ)


def native(**environ: str) -> Stack:
    """The same behind its own front end."""
    return Stack("native", _SERVE, {"POLYHOST_FRONTEND": "native", **environ})


@dataclass(frozen=True)
class Server:
    stack: Stack
    port: int
    base_dir: Path
    process: subprocess.Popen[bytes]
    started: float  # time.perf_counter() just before the process was

    @property
    def models_dir(self) -> Path:
        return self.base_dir / "models"

    @property
    def log(self) -> Path:
        return self.base_dir / "server.log"

    def api(self) -> Api:
        return Api(self.port)


@contextmanager
def running(stack: Stack) -> Iterator[Server]:
    """A server that answers /ping, for as long as the block runs."""
    # Short: the paths of MMS's sockets lie below it, and have 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        server = _start(stack, Path(folder))
        try:
            _wait_for_ping(server)
            yield server
        finally:
            _stop(server)


def _start(stack: Stack, folder: Path) -> Server:
    port = free_port()
    (folder / "models").mkdir()
    (folder / "tmp").mkdir()
    environ = {
        **{name: os.environ[name] for name in INHERITED if name in os.environ},
        "SAGEMAKER_MULTI_MODEL": "true",
        "SAGEMAKER_BASE_DIR": str(folder),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        **{name: str(folder / "tmp") for name in ("TEMP", "TMPDIR")},
        **stack.environ,
    }
    with (folder / "server.log").open("wb") as log:
        started = time.perf_counter()
        # A session of its own: every process that it leaves behind can be found by its group.
        process = subprocess.Popen(
            stack.command, env=environ, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    return Server(stack, port, folder, process, started)


def free_port() -> int:
    """Multi Model Server takes none from 32767 on."""
    for port in range(20000 + os.getpid() % 10000, 32767):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServerError("no free port below 32767")


def _wait_for_ping(server: Server) -> None:
    deadline = time.monotonic() + START_S
    while not _answers_ping(server):
        if server.process.poll() is not None:
            raise ServerError(f"{server.stack.name} ended at its start:\n{_last_words(server)}")
        if time.monotonic() > deadline:
            raise ServerError(f"{server.stack.name} was not up within {START_S:.0f} s:\n{_last_words(server)}")
        time.sleep(POLL_S)


def _answers_ping(server: Server) -> bool:
    try:
        with server.api() as api:
            api.ping()
    except (OSError, AnswerError):
        return False
    return True


def _stop(server: Server) -> None:
    """SIGTERM to the first process; then an end to what it leaves, as stock leaves its Python workers."""
    server.process.send_signal(signal.SIGTERM)
    try:
        server.process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        pass
    deadline = time.monotonic() + STOP_S
    while _kill_group(server.process.pid):
        server.process.poll()
        if time.monotonic() > deadline:
            raise ServerError(f"{server.stack.name} left processes that SIGKILL did not end")
        time.sleep(POLL_S)


def _kill_group(group: int) -> bool:
    """False where nothing of the group is left."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _last_words(server: Server) -> str:
    return "\n".join(server.log.read_text(errors="replace").splitlines()[-15:])
