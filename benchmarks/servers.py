"""The servers that are compared: each a process with a folder of its own, stopped without leaving anything behind."""

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.client import TIMEOUT_S, MeasuringClient, ResponseError
from polyhost.processes import ProcessError, ServerProcess, free_port

ROOT = Path(__file__).parent.parent
STOCK = ROOT / "benchmarks" / "stock"
STOP_S = 15.0
_PING_INTERVAL_S = 0.005
_SERVE = [sys.executable, str(ROOT / "container" / "image" / "dockerd-entrypoint.py"), "serve"]
_INHERITED = ("PATH", "HOME", "JAVA_HOME", "LANG")


@dataclass(frozen=True)
class Stack:
    """How to start one server for models of one framework; `environ` is added to what all of them get."""

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]


def stock(python: Path, framework: str) -> Stack:
    """Return the stock stack, whose container has one handler, so that each framework needs a container of its own."""
    path = os.pathsep.join([str(python.parent), os.environ.get("PATH", os.defpath)])
    handler = f"{STOCK / framework}_handler.py:handle"
    return Stack("stock", [str(python), str(STOCK / "serve.py")], {"PATH": path, "SAGEMAKER_HANDLER": handler})


def polyhost(**environ: str) -> Stack:
    """Return polyhost on MMS with its defaults: a framework's zygote starts with the first model that needs it."""
    return Stack("polyhost", _SERVE, environ)


def native(**environ: str) -> Stack:
    """Return polyhost with its native front end."""
    return Stack("native", _SERVE, {"POLYHOST_FRONTEND": "native", **environ})


@dataclass(frozen=True)
class BenchServer:
    """A server that runs."""

    stack: Stack
    port: int
    base_dir: Path
    process: ServerProcess
    started: float  # time.perf_counter() just before the process was started

    @property
    def models_dir(self) -> Path:
        return self.base_dir / "models"

    def client(self, timeout_s: float = TIMEOUT_S) -> MeasuringClient:
        return MeasuringClient(self.port, timeout_s)

    def answers_ping(self) -> bool:
        try:
            with self.client() as client:
                client.ping()
        except (OSError, ResponseError):
            return False
        return True


@contextmanager
def running(stack: Stack) -> Iterator[BenchServer]:
    """Run a server that answers /ping for as long as the block runs."""
    # A short path: the paths of MMS's sockets lie below it, and have 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        server = _start(stack, Path(folder))
        try:
            server.process.wait_until(server.answers_ping, poll_interval_s=_PING_INTERVAL_S)
            yield server
        finally:
            with suppress(ProcessError):  # too slow for the time-out: then it has been killed
                server.process.stop(STOP_S)
            server.process.kill()  # what it leaves behind, as stock leaves its Python workers


def _start(stack: Stack, folder: Path) -> BenchServer:
    port = free_port()
    (folder / "models").mkdir()
    (folder / "tmp").mkdir()
    environ = {
        **{name: os.environ[name] for name in _INHERITED if name in os.environ},
        **{name: str(folder / "tmp") for name in ("TEMP", "TMPDIR")},
        **container_environ(stack, folder, port),
    }
    started = time.perf_counter()
    process = ServerProcess(stack.command, folder / "server.log", environ=environ, cwd=folder)
    return BenchServer(stack, port, folder, process, started)


def container_environ(stack: Stack, folder: Path, port: int) -> dict[str, str]:
    """Return what says where a container's server listens and has its files, and the stack's own variables."""
    return {
        "SAGEMAKER_MULTI_MODEL": "true",
        "SAGEMAKER_BASE_DIR": str(folder),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        **stack.environ,
    }
