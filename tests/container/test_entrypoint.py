"""The entry point as a process: how it handles its arguments. The integration tests cover `serve` itself."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.container import ENTRY_POINT

SIGNAL_DURING_IMPORTS = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "polyhost.container.supervisor":
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Finder())
"""


def entry_point(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ENTRY_POINT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_other_arguments_are_executed_as_they_are() -> None:
    result = entry_point("printf", "%s|", "a b", "$HOME", "x\ny")

    assert (result.returncode, result.stdout, result.stderr) == (0, "a b|$HOME|x\ny|", "")


def test_the_status_of_the_command_is_returned() -> None:
    assert entry_point("sh", "-c", "exit 7").returncode == 7


def test_the_command_replaces_the_entry_point() -> None:
    """The platform sends its signals to process 1."""
    process = subprocess.Popen(
        [sys.executable, ENTRY_POINT, "sh", "-c", "echo $$; exec sleep 60"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert int(process.stdout.readline()) == process.pid

    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("no-such-command",), "cannot run 'no-such-command' (No such file or directory); give `serve`, or a command"),
        (("/",), "cannot run '/' (Permission denied)"),
        ((), "nothing to run: give `serve`, or a command to execute"),
    ],
)
def test_a_command_that_cannot_be_run_is_one_line(arguments: tuple[str, ...], complaint: str) -> None:
    result = entry_point(*arguments)

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"polyhost: {complaint}")
    assert result.stderr.count("\n") == 1


def test_sigterm_during_its_imports_is_heeded(tmp_path: Path) -> None:
    """As process 1 of a container it would get no signal without a handler."""
    (tmp_path / "sitecustomize.py").write_text(SIGNAL_DURING_IMPORTS)
    environ = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, ENTRY_POINT, "serve"], env=environ, timeout=60, check=False)
    assert done.returncode == 0
