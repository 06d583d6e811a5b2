"""A launcher as the fork server sees it: the child of another process, watched, spoken for and killed."""

import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from polyhost.container.mms.launcher import LaunchArguments, Launcher, recorded_pids, remove_record
from tests.container.forking import descriptors_of, opened_since

ARGUMENTS = (
    "/mms/model_service_worker.py", "--sock-type", "unix", "--sock-name", "/run/.mms.sock.9000",
    "--handler", "h.py:handle", "--model-path", "/ml/models/a b", "--model-name", "größe",
    "--preload-model", "false", "--tmp-dir", "/tmp/x",
)  # fmt: skip
PARSED = LaunchArguments("/run/.mms.sock.9000", "h.py:handle", "/ml/models/a b", "größe", "/tmp/x")


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    (tmp_path / "launches").mkdir()
    return tmp_path


def write_record(run_dir: Path, pid: int, *arguments: str) -> None:
    (run_dir / "launches" / str(pid)).write_bytes(b"".join(os.fsencode(argument) + b"\0" for argument in arguments))


@pytest.fixture
def process(run_dir: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Start processes that have a launcher's record, and its descriptors for output; kill them afterwards."""
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str) -> subprocess.Popen[bytes]:
        command = ["sh", "-c", f"exec 3>&1; echo up; exec {name} 60"]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        output = started[-1].stdout
        assert output is not None and output.readline() == b"up\n"
        write_record(run_dir, started[-1].pid, *ARGUMENTS)
        return started[-1]

    yield start
    for item in started:
        item.kill()
        item.communicate()


Start = Callable[[str], subprocess.Popen[bytes]]


def sleeping(start: Start) -> subprocess.Popen[bytes]:
    process = start("sleep")
    while Path(f"/proc/{process.pid}/comm").read_text() != "sleep\n":
        os.sched_yield()
    return process


def test_arguments_are_those_of_mms(run_dir: Path, process: Start) -> None:
    launcher = Launcher(run_dir, sleeping(process).pid)

    assert launcher.arguments == PARSED
    launcher.close()


def test_names_that_are_not_utf_8_are_kept() -> None:
    arguments = [*ARGUMENTS[:8], "/ml/caf\udce9", *ARGUMENTS[9:]]

    assert os.fsencode(LaunchArguments.parse(arguments).model_path) == b"/ml/caf\xe9"


def test_reports_go_to_the_launchers_output(run_dir: Path, process: Start) -> None:
    sleeper = sleeping(process)
    launcher = Launcher(run_dir, sleeper.pid)
    launcher.report_started()
    launcher.report_error("no socket")
    launcher.kill()
    out, err = sleeper.communicate()

    assert (out, err) == (b"MMS worker started.\n", b"no socket\n")
    launcher.close()


def test_pidfd_reports_the_end_and_the_parent_reaps(run_dir: Path, process: Start) -> None:
    sleeper = sleeping(process)
    launcher = Launcher(run_dir, sleeper.pid)
    assert launcher.pidfd is not None
    launcher.kill()

    assert select.select([launcher.pidfd], [], [], 30)[0]
    assert not launcher.is_reaped  # a zombie still
    sleeper.wait()
    assert launcher.is_reaped
    launcher.kill()
    launcher.close()


def test_close_leaves_neither_record_nor_descriptor(run_dir: Path, process: Start) -> None:
    pid = sleeping(process).pid
    before = descriptors_of()
    launcher = Launcher(run_dir, pid)
    assert (len(opened_since(before)), recorded_pids(run_dir)) == (1, [pid])
    for _ in range(2):
        launcher.close()

    assert (opened_since(before), recorded_pids(run_dir)) == ([], [])


def test_ended_process_is_an_error(run_dir: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
    ended.wait()
    write_record(run_dir, ended.pid, *ARGUMENTS)

    check_error(run_dir, ended.pid, ProcessLookupError)


def test_other_process_with_a_reused_pid_is_an_error(run_dir: Path) -> None:
    write_record(run_dir, os.getpid(), *ARGUMENTS)

    check_error(run_dir, os.getpid(), ProcessLookupError)


@pytest.mark.parametrize("arguments", [None, (), ARGUMENTS[:5]], ids=["none", "empty", "half"])
def test_incomplete_record_is_an_error(run_dir: Path, process: Start, arguments: tuple[str, ...] | None) -> None:
    pid = sleeping(process).pid
    remove_record(run_dir, pid)
    if arguments is not None:
        write_record(run_dir, pid, *arguments)

    check_error(run_dir, pid, FileNotFoundError)


def pidfds() -> int:
    return sum("pidfd" in target for target in descriptors_of())


def check_error(run_dir: Path, pid: int, error: type[OSError]) -> None:
    before = pidfds()
    with pytest.raises(error):
        Launcher(run_dir, pid)

    assert pidfds() <= before  # fewer where an earlier test's garbage was collected


def test_recorded_pids_are_found_and_removed(run_dir: Path) -> None:
    for pid in (30, 4):
        write_record(run_dir, pid)
    (run_dir / "launches" / "x").touch()

    assert recorded_pids(run_dir) == [4, 30]
    remove_record(run_dir, 4)
    remove_record(run_dir, 4)
    assert recorded_pids(run_dir) == [30]
