"""A run of tests that is interrupted or killed: the servers that its tests have started end with it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.processes import is_running
from tests.support.waiting import wait_for

TESTS = """
import sys, time
from pathlib import Path
import pytest
from polyhost.processes import ServerProcess

@pytest.mark.parametrize("number", [1, 2])
def test_that_waits(tmp_path, number):
    server = ServerProcess([sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "log")
    Path(__file__).with_name(f"server-{server.pid}").touch()
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_servers_of_tests_end_with_the_run(tmp_path: Path, number: signal.Signals) -> None:
    with interrupted_run(tmp_path) as run:
        wait_for(lambda: len(servers(tmp_path)) == 2 or run.poll() is not None, "the servers of both tests")
        assert run.poll() is None, (tmp_path / "output").read_text()
        if number == signal.SIGINT:  # which a terminal sends to all of them
            os.killpg(run.pid, number)
        else:
            run.send_signal(number)
        wait_for(lambda: not any(map(is_running, servers(tmp_path))), "the end of the servers")


@contextmanager
def interrupted_run(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the sample's two tests at once, with no more plugins than that takes."""
    sample = folder / "test_sample.py"
    sample.write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "xdist", "-n", "2", "-p", "no:cacheprovider", str(sample)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    with (folder / "output").open("w") as output:
        run = subprocess.Popen(
            [*command, f"--basetemp={folder / 'base'}"],
            cwd=folder,
            env=environ,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield run
    finally:
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()


def servers(folder: Path) -> list[int]:
    return [int(path.name.removeprefix("server-")) for path in folder.glob("server-*")]
