"""Servers as child processes."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from polyhost.processes import ProcessError, ServerProcess, free_port, processes_with, proportional_bytes
from tests.support.processes import is_running
from tests.support.waiting import wait_for

SLEEPS = [sys.executable, "-c", "import time; print('it sleeps', flush=True); time.sleep(600)"]
STARTS_A_DAEMON = """
import subprocess, sys
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
print(child.pid, flush=True)
sys.exit(5)
"""
IGNORES_SIGTERM = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ignoring", flush=True)
time.sleep(600)
"""
# With a daemon of its own, of which only the server's mark tells; and from a thread that ends at once.
SERVES = """
import subprocess, time
daemon = subprocess.Popen(["sleep", "600"], start_new_session=True)
print(daemon.pid, "serves", flush=True)
time.sleep(600)
"""
STARTS_A_SERVER = """
import sys, threading, time
from pathlib import Path
from polyhost.processes import ServerProcess
log = Path(sys.argv[1])
servers = []
thread = threading.Thread(target=lambda: servers.append(ServerProcess([sys.executable, "-c", sys.argv[2]], log)))
thread.start()
thread.join()
servers[0].wait_until(lambda: "serves" in log.read_text())
print(servers[0].pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "server.log"


def test_free_ports_suit_multi_model_server_and_differ() -> None:
    ports = [free_port() for _ in range(20)]
    assert all(20000 <= port < 32767 for port in ports)
    assert len(set(ports)) == 20


def test_a_port_in_use_is_skipped() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port + 1)):
        assert free_port() != port + 1


def test_a_server_is_started_awaited_and_stopped(log: Path) -> None:
    server = ServerProcess(SLEEPS, log)
    server.wait_until(lambda: "it sleeps" in log.read_text())
    assert server.processes() == [server.pid]
    assert server.stop() == -signal.SIGTERM
    assert server.stop() == -signal.SIGTERM
    assert server.processes() == []


def test_a_process_that_cannot_be_read_counts_by_its_session(log: Path) -> None:
    """As root it can be read all the same."""
    code = "import ctypes, time; ctypes.CDLL(None).prctl(4, 0); print('closed', flush=True); time.sleep(600)"
    server = ServerProcess([sys.executable, "-c", code], log)
    server.wait_until(lambda: "closed" in log.read_text())
    assert server.processes() == [server.pid]
    assert proportional_bytes(server.pid) > 1_000_000
    server.kill()
    assert server.processes() == []
    assert proportional_bytes(server.pid) == 0


def test_a_server_that_ends_before_it_is_ready(log: Path) -> None:
    server = ServerProcess([sys.executable, "-c", "print('no config'); raise SystemExit(2)"], log)
    with pytest.raises(ProcessError, match=r"ended with status 2:\nno config"):
        server.wait_until(lambda: False)


def test_a_server_that_is_not_ready_in_time(log: Path) -> None:
    server = ServerProcess(SLEEPS, log)
    with pytest.raises(ProcessError, match=r"was not ready within 0\.1 s"):
        server.wait_until(lambda: False, timeout_s=0.1, poll_interval_s=0.01)
    server.kill()
    assert server.processes() == []


def test_a_server_that_ignores_sigterm_is_killed(log: Path) -> None:
    server = ServerProcess([sys.executable, "-c", IGNORES_SIGTERM], log)
    server.wait_until(lambda: "ignoring" in log.read_text())
    with pytest.raises(ProcessError, match=r"did not end within 0\.1 s of SIGTERM:\nignoring"):
        server.stop(timeout_s=0.1)
    assert server.processes() == []


def test_leftovers_are_found_in_other_sessions_and_killed(log: Path) -> None:
    server = ServerProcess([sys.executable, "-c", STARTS_A_DAEMON], log)
    assert server.popen.wait(30) == 5
    leftover = int(log.read_text())
    assert server.processes() == [leftover]
    server.kill()
    assert server.processes() == []
    assert not is_running(leftover)


def test_processes_are_found_by_a_variable(log: Path) -> None:
    server = ServerProcess(SLEEPS, log, environ={"PATH": os.environ["PATH"], "MARK_OF_A_TEST": log.as_posix()})
    assert processes_with("MARK_OF_A_TEST", log.as_posix(), server.pid) == [server.pid]
    assert processes_with("MARK_OF_A_TEST", "another", server.pid) == []
    server.kill()


def test_a_server_ends_with_a_process_that_is_killed(log: Path) -> None:
    command = [sys.executable, "-c", STARTS_A_SERVER, str(log), SERVES]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        server = int(starter.stdout.readline())
        starter.kill()
    daemon = int(log.read_text().split()[0])
    wait_for(lambda: not any(map(is_running, (server, daemon))), "the end of the server and its daemon")
