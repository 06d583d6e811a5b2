"""Why a worker died: the wait statuses of real processes, in words."""

import os
import signal
import sys

import pytest

from polyhost.container.forkserver.exit_status import explain_death


def wait_status_of(code: str) -> int:
    """Of a real process that ends in this way."""
    pid = os.posix_spawn(sys.executable, ["python", "-S", "-c", f"import os, signal\n{code}"], os.environ)
    return os.waitpid(pid, 0)[1]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("os._exit(3)", "exited with status 3"),
        ("os._exit(0)", "exited with status 0"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "died of SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed (SIGKILL)"),
        ("os.kill(os.getpid(), signal.SIGRTMIN + 1)", "died of signal 35"),
    ],
)
def test_how_it_ended(code: str, words: str) -> None:
    error = explain_death(wait_status_of(code), activity="handling a request", oom_killed=False)

    assert str(error) == f"the worker {words} while handling a request"
    assert error.status == 500


def test_the_kernels_killer_is_a_shortage_of_memory() -> None:
    error = explain_death(int(signal.SIGKILL), activity="loading the model", oom_killed=True)

    assert error.status == 507
    assert "out-of-memory killer" in str(error)


def test_another_signal_is_not_blamed_on_the_kernels_killer() -> None:
    assert explain_death(int(signal.SIGSEGV), activity="idle", oom_killed=True).status == 500


def test_a_deadline_is_told_as_such_and_not_as_the_kill_that_followed() -> None:
    error = explain_death(int(signal.SIGKILL), activity="handling a request", oom_killed=True, timed_out_after_s=60)

    assert (error.status, str(error)) == (
        504, "no response within 60 s while handling a request; the worker was killed"
    )  # fmt: skip


def test_the_last_line_that_says_something_is_quoted_up_to_a_limit() -> None:
    output = ["first", "x" * 400, "  ", ""]

    error = explain_death(int(signal.SIGABRT), activity="idle", oom_killed=False, output=output)

    assert str(error).endswith(f"last output: {'x' * 300}")
