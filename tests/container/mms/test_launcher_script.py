"""The launcher script, run as Java runs it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import wait_for

LAUNCHER = Path(__file__).parents[3] / "container" / "mms" / "resources" / "launcher"
RUNTIMES = LAUNCHER.parent / "runtimes"
ODD = ["--model-name", "two words", "--handler", "line\nbreak", "--tmp-dir", "", "--model-path", "*?$(id)`\"'\\n é"]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """Write a script in place of MMS's own worker, which prints its arguments."""
    path = tmp_path / "model_service_worker.py"
    path.write_text("import json, sys; print(json.dumps(sys.argv[1:]))")
    return path


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "run with a space"
    (folder / "launches").mkdir(parents=True)
    return folder


@pytest.fixture
def fifo(run_dir: Path) -> Iterator[int]:
    """Open the fork server's end of the FIFO."""
    os.mkfifo(run_dir / "launch.fifo")
    descriptor = os.open(run_dir / "launch.fifo", os.O_RDWR)
    yield descriptor
    os.close(descriptor)


def launch(
    run_dir: Path, *arguments: str | Path, program: str | Path = LAUNCHER, **options: Any
) -> subprocess.Popen[bytes]:
    environ = {
        "POLYHOST_PYTHON": sys.executable,
        "POLYHOST_LAUNCHER": str(LAUNCHER),
        "POLYHOST_RUN_DIR": str(run_dir),
        "PATH": f"{RUNTIMES}:{os.environ['PATH']}",
    }
    return subprocess.Popen([program, *arguments], env=environ, stdout=subprocess.PIPE, **options)


def output_of(process: subprocess.Popen[bytes]) -> bytes:
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    return out


def test_launcher_asks_the_fork_server_and_sleeps(run_dir: Path, fifo: int, script: Path) -> None:
    process = launch(run_dir, script, *ODD)

    assert os.read(fifo, 100) == f"{process.pid}\n".encode()
    record = (run_dir / "launches" / str(process.pid)).read_bytes()
    assert [field.decode() for field in record.split(b"\0")] == [str(script), *ODD, ""]
    wait_for(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n", "its exec")
    end(process)


@pytest.mark.parametrize("runtime", ["python", "python2", "python3"])
def test_every_runtime_of_a_manifest_is_the_launcher(run_dir: Path, fifo: int, script: Path, runtime: str) -> None:
    """Java looks the program up on its PATH (WorkerLifeCycle.java)."""
    process = launch(run_dir, script, *ODD, program=RUNTIMES / runtime)

    assert os.read(fifo, 100) == f"{process.pid}\n".encode()
    record = (run_dir / "launches" / str(process.pid)).read_bytes()
    assert [field.decode() for field in record.split(b"\0")] == [str(script), *ODD, ""]
    Path(f"/proc/{process.pid}/fd/3").write_text("MMS worker started.\n")
    assert process.stdout is not None and process.stdout.readline() == b"MMS worker started.\n"
    end(process)


@pytest.mark.parametrize("runtime", ["python", "python2", "python3"])
def test_other_programs_get_the_real_python(run_dir: Path, fifo: int, runtime: str) -> None:
    process = launch(run_dir, "-c", "import sys; print(sys.argv[1:])", "a b", program=RUNTIMES / runtime)

    assert output_of(process) == b"['a b']\n"


def test_output_can_be_written_to_through_descriptor_3(run_dir: Path, fifo: int, script: Path) -> None:
    process = launch(run_dir, script)
    os.read(fifo, 100)
    Path(f"/proc/{process.pid}/fd/3").write_text("MMS worker started.\n")

    assert process.stdout is not None
    assert process.stdout.readline() == b"MMS worker started.\n"
    end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill the launcher, as MMS does."""
    process.kill()
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL


def test_launcher_waits_for_a_fork_server_that_is_restarted(run_dir: Path, script: Path) -> None:
    os.mkfifo(run_dir / "launch.fifo")
    process = launch(run_dir, script)
    record = run_dir / "launches" / str(process.pid)
    wait_for(record.is_file, "its record")
    fifo = os.open(run_dir / "launch.fifo", os.O_RDWR)

    assert os.read(fifo, 100) == f"{process.pid}\n".encode()
    end(process)
    os.close(fifo)


def test_worker_of_mms_runs_if_there_is_no_fork_server(run_dir: Path, script: Path) -> None:
    assert json.loads(output_of(launch(run_dir, script, *ODD))) == ODD
    assert list((run_dir / "launches").iterdir()) == []


def test_worker_of_mms_runs_if_the_fifo_is_a_plain_file(run_dir: Path, script: Path) -> None:
    (run_dir / "launch.fifo").touch()

    assert json.loads(output_of(launch(run_dir, script, "a"))) == ["a"]


def test_launcher_ends_if_its_record_cannot_be_written(run_dir: Path, fifo: int, script: Path) -> None:
    """Then MMS fails the load at once, instead of waiting for a worker that was never asked for."""
    (run_dir / "launches").rmdir()
    process = launch(run_dir, script, stderr=subprocess.DEVNULL)
    process.communicate(timeout=30)

    assert process.returncode == 1
    os.set_blocking(fifo, False)
    with pytest.raises(BlockingIOError):
        os.read(fifo, 1)


def test_metrics_collector_reads_its_input_and_prints_nothing(run_dir: Path, fifo: int) -> None:
    process = launch(run_dir, "/mms/metrics/metric_collector.py", stdin=subprocess.PIPE)
    out, _ = process.communicate(b"1\n2\n" * 50_000, timeout=30)

    assert (process.returncode, out) == (0, b"")
    assert list((run_dir / "launches").iterdir()) == []


def test_other_scripts_are_run_by_the_real_python(run_dir: Path, fifo: int, tmp_path: Path) -> None:
    script = tmp_path / "other.py"
    script.write_text("import sys; print(sys.argv[1:], sys.stdin.read())")

    process = launch(run_dir, script, "a b", stdin=subprocess.PIPE)
    out, _ = process.communicate(b"input", timeout=30)

    assert (process.returncode, out) == (0, b"['a b'] input\n")
