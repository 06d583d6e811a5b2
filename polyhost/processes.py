"""Servers as child processes: start one on a free port, wait until it serves, stop it, and leave nothing behind."""

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import httpx

from polyhost.aws_environ import aws_environ
from polyhost.client import PolyhostClient
from polyhost.end_guard import EndGuard

COMMAND = (sys.executable, "-P", "-m", "polyhost")
"""The command line of this installation; -P keeps the current directory out of its module search path."""

# A server that ends is noticed at once: this is for one that hangs, on machines with many more processes than cores.
_START_S = 300.0
_STOP_S = 30.0  # SageMaker sends SIGKILL this long after SIGTERM
_KILL_S = 15.0
_MARK = "POLYHOST_PROCESS"
_END = "import sys; from polyhost.processes import end_server; end_server(sys.argv[1], int(sys.argv[2]))"
# Multi Model Server accepts no port from 32767 on (Connector.java), and Linux hands out those from 32768 on to clients.
# Two processes that ask do not begin with the same port: a port is free until its server listens.
_FIRST_PORT, _PORTS = 20000, 12767
_ports = islice(cycle(range(_FIRST_PORT, _FIRST_PORT + _PORTS)), secrets.randbelow(_PORTS), None)


class ProcessError(Exception):
    """A server that did not start, did not stop or left processes behind; the message ends with the tail of its log."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free now and has not been returned lately. Raise OSError if all are in use."""
    for _ in range(_PORTS):
        port = next(_ports)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port from {_FIRST_PORT} to {_FIRST_PORT + _PORTS - 1}")


def free_port_range(count: int) -> str:
    """Return `FIRST-LAST`: neighbouring ports, each free as `free_port` says. Raise OSError without such a range."""
    for _ in range(_PORTS):
        ports = [free_port() for _ in range(count)]
        if ports[-1] - ports[0] == count - 1:
            return f"{ports[0]}-{ports[-1]}"
    raise OSError(f"no {count} free ports in a row from {_FIRST_PORT} to {_FIRST_PORT + _PORTS - 1}")


def processes_with(variable: str, value: str, session: int) -> list[int]:
    """Return the ids of all processes that were started with this environment variable.

    A process inherits the variable from its parent, so this finds descendants that were adopted by another process.
    `session`: of the first of them; by it those count that do not let their environment be read, as the processes of a
    container that serve all models.
    """
    entry = f"{variable}={value}".encode()
    pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())
    return [pid for pid in pids if _is_marked(pid, entry, session)]


def proportional_bytes(pid: int) -> int:
    """Return the process's proportional set size (proc(5), smaps_rollup); 0 if it has ended.

    Of a process that does not let it be read: what is resident and of no file, though others may share it.
    """
    try:
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else 0
    except PermissionError:
        return _anonymous_bytes(pid)
    except OSError:
        return 0


def _anonymous_bytes(pid: int) -> int:
    try:
        _, resident, of_files, *_ = map(int, Path(f"/proc/{pid}/statm").read_bytes().split())
    except OSError:
        return 0
    return (resident - of_files) * os.sysconf("SC_PAGESIZE")


class ServerProcess:
    """A server in a session of its own, with its output in a file.

    Ctrl-C in the terminal does not reach it: the caller stops it in order, or kills it. If this process ends without
    that, even by SIGKILL, the server and its descendants end as well.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        *,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Start the command, by default in this process's environment and working directory. Raise OSError."""
        self.log = log
        self._name = " ".join(map(str, command))
        self._mark = secrets.token_hex(8)
        with log.open("wb") as stream:
            self.popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**(os.environ if environ is None else environ), _MARK: self._mark},
                cwd=cwd,
                start_new_session=True,
            )
        try:
            self._guard = _guard(self._mark, self.pid)
        except OSError:
            self.popen.kill()
            self.popen.wait()
            raise

    @property
    def pid(self) -> int:
        """The id of the process that was started."""
        return self.popen.pid

    def wait_until(
        self, ready: Callable[[], bool], *, timeout_s: float = _START_S, poll_interval_s: float = 0.05
    ) -> None:
        """Poll `ready` until it is true. Raise ProcessError if the process ends first, or after the timeout."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if time.monotonic() > deadline:
                raise ProcessError(f"{self._name} was not ready within {timeout_s:g} s:\n{self.log_tail()}")
            try:
                status = self.popen.wait(poll_interval_s)
            except subprocess.TimeoutExpired:
                continue
            raise ProcessError(f"{self._name} ended with status {status}:\n{self.log_tail()}")

    def stop(self, timeout_s: float = _STOP_S) -> int:
        """Send SIGTERM, wait, and return the exit status; do nothing to a process that has ended.

        Raise ProcessError after the timeout; then all its processes have been killed.
        """
        self.popen.terminate()
        try:
            status = self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ProcessError(
                f"{self._name} did not end within {timeout_s:g} s of SIGTERM:\n{self.log_tail()}"
            ) from None
        self._guard.cancel()
        return status

    def kill(self) -> None:
        """Send SIGKILL to the process and its descendants until none is left. Raise ProcessError if that fails."""
        self.popen.kill()
        if pids := _kill_all(self._mark, self.pid):
            raise ProcessError(f"SIGKILL did not end the processes {pids} of {self._name}")
        self.popen.wait()
        self._guard.cancel()

    def processes(self) -> list[int]:
        """Return the ids of those that run: the process and its descendants."""
        return processes_with(_MARK, self._mark, self.pid)

    def log_tail(self, lines: int = 15) -> str:
        """Return the last lines of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@dataclass(frozen=True)
class RunningContainer:
    """A container that was started by `polyhost serve`."""

    url: str
    base_dir: Path
    process: ServerProcess


@contextmanager
def running_container(base_dir: Path, *options: str) -> Iterator[RunningContainer]:
    """Run `polyhost serve` on a free port while the block runs, once /ping answers 200.

    Models lie below base_dir/models, which is made if it is missing. The log is base_dir/container.log.
    """
    (base_dir / "models").mkdir(exist_ok=True)
    port = free_port()
    command = [*COMMAND, "serve", "--port", str(port), "--base-dir", str(base_dir), *options]
    process = ServerProcess(command, base_dir / "container.log")
    url = f"http://127.0.0.1:{port}"
    try:
        with PolyhostClient(url) as client:
            process.wait_until(client.ping)
        yield RunningContainer(url, base_dir, process)
    finally:
        _stop_cleanly(process)


@dataclass(frozen=True)
class RunningEmulator:
    """An emulator that was started by `polyhost emulator`."""

    url: str
    process: ServerProcess

    @property
    def dashboard_url(self) -> str:
        """The address of its web page."""
        return f"{self.url}/_polyhost/"

    def environ(self, region: str = "us-east-1") -> dict[str, str]:
        """Return the variables that make AWS clients talk to it; it accepts any credentials."""
        return aws_environ(self.url, region)


@contextmanager
def running_emulator(folder: Path, *options: str) -> Iterator[RunningEmulator]:
    """Run `polyhost emulator` on a free port while the block runs, once it answers. The log is folder/emulator.log."""
    port = free_port()
    process = ServerProcess([*COMMAND, "emulator", "--port", str(port), *options], folder / "emulator.log")
    emulator = RunningEmulator(f"http://127.0.0.1:{port}", process)
    try:
        process.wait_until(lambda: _answers(f"{emulator.dashboard_url}state"))
        yield emulator
    finally:
        _stop_cleanly(process)


def _stop_cleanly(process: ServerProcess) -> None:
    process.stop()
    if pids := process.processes():
        process.kill()
        raise ProcessError(f"processes were left behind: {pids}; the log ends with:\n{process.log_tail()}")


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5.0, trust_env=False).is_success
    except httpx.TransportError:
        return False


def end_server(mark: str, pid: int) -> None:
    """Stop the server of a process that has ended, then kill what it leaves behind."""
    deadline = time.monotonic() + _STOP_S
    if pid in processes_with(_MARK, mark, pid):
        _send(pid, signal.SIGTERM)
    while pid in processes_with(_MARK, mark, pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    _kill_all(mark, pid)


def _guard(mark: str, pid: int) -> EndGuard:
    # Without the mark of a server that this process may be part of: it would end with it.
    environ = {name: value for name, value in os.environ.items() if name != _MARK}
    return EndGuard([sys.executable, "-P", "-c", _END, mark, str(pid)], environ)


def _kill_all(mark: str, session: int) -> list[int]:
    """Send SIGKILL to a server's processes until none is left; return those that it has not ended in time.

    Zombies do not count: they have no environment any more.
    """
    deadline = time.monotonic() + _KILL_S
    while (pids := processes_with(_MARK, mark, session)) and time.monotonic() < deadline:
        for pid in pids:
            _send(pid, signal.SIGKILL)
        time.sleep(0.005)
    return pids


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _is_marked(pid: int, entry: bytes, session: int) -> bool:
    try:
        return entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except PermissionError:
        return _runs_in(pid, session)
    except OSError:  # it has ended
        return False


def _runs_in(pid: int, session: int) -> bool:
    """Return whether the process runs in the session; a zombie does not (proc_pid_stat(5), fields 3 and 6)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] != "Z" and int(fields[3]) == session
