"""The container as a process of this machine: started on a free port, and ended without a trace."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from polyhost.client import PolyhostClient

START_S = 60.0
STOP_S = 30.0  # SageMaker sends SIGKILL then
MARK = "POLYHOST_EXAMPLE"
POLYHOST = Path(sys.executable).with_name("polyhost")


class ServerError(Exception):
    """The container did not start, or left something behind; the message ends with its last words."""


@dataclass(frozen=True)
class Server:
    """A running container."""

    url: str
    base_dir: Path
    log: Path
    process: subprocess.Popen[bytes]

    def left_over(self) -> list[int]:
        """Processes of this container that are alive: each inherits the mark in its environment."""
        mark = f"{MARK}={self.base_dir}".encode()
        return [pid for pid in _processes() if mark in _environment(pid)]


@contextmanager
def serving(base_dir: Path, *options: str) -> Iterator[Server]:
    """`polyhost serve` for as long as the block runs."""
    (base_dir / "models").mkdir(exist_ok=True)
    server = _start(base_dir, options)
    try:
        _wait_until_healthy(server)
        yield server
    finally:
        _stop(server)


def _start(base_dir: Path, options: tuple[str, ...]) -> Server:
    port = free_port()
    command: list[str | Path] = [POLYHOST, "serve", "--port", str(port), "--base-dir", base_dir, *options]
    log = base_dir / "container.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=os.environ | {MARK: str(base_dir)},
            start_new_session=True,  # Ctrl-C is for the caller, who then ends the container in order
        )
    return Server(f"http://127.0.0.1:{port}", base_dir, log, process)


def free_port() -> int:
    """A port that nobody uses now; Multi Model Server takes none from 32767 on."""
    for port in range(20000 + os.getpid() % 10000, 32767):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServerError("no free port below 32767")


def _wait_until_healthy(server: Server) -> None:
    deadline = time.monotonic() + START_S
    with PolyhostClient(server.url) as container:
        while not container.ping():
            if time.monotonic() > deadline:
                raise ServerError(f"the container was not healthy within {START_S:.0f} s:\n{last_words(server.log)}")
            _fail_if_ended(server)


def _fail_if_ended(server: Server) -> None:
    """Waits a moment for an end that should not come."""
    try:
        status = server.process.wait(0.1)
    except subprocess.TimeoutExpired:
        return
    raise ServerError(f"the container ended with status {status}:\n{last_words(server.log)}")


def _stop(server: Server) -> None:
    server.process.send_signal(signal.SIGTERM)
    try:
        server.process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()
        raise ServerError(f"the container did not end within {STOP_S:.0f} s of SIGTERM") from None
    if pids := server.left_over():
        raise ServerError(f"the container left processes behind: {pids}")


def last_words(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # ended meanwhile, or not ours to read
        return []
