"""The error for a worker that died, from the wait statuses of real processes."""

import os
import signal
import sys

import pytest

from polyhost.container.forkserver.exit_status import explain_death


def wait_status_of(code: str) -> int:
    """Return the wait status of a real process that runs the code."""
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
def test_error_says_how_the_worker_ended(code: str, words: str) -> None:
    error = explain_death(wait_status_of(code), activity="handling a request", oom_killed=False)

    assert str(error) == f"the worker {words} while handling a request"
    assert error.status == 500


def test_oom_kill_is_507() -> None:
    error = explain_death(int(signal.SIGKILL), activity="loading the model", oom_killed=True)

    assert error.status == 507
    assert "out-of-memory killer" in str(error)


def test_other_signal_is_not_attributed_to_the_oom_killer() -> None:
    assert explain_death(int(signal.SIGSEGV), activity="idle", oom_killed=True).status == 500


def test_timeout_is_reported_instead_of_the_kill_that_followed() -> None:
    error = explain_death(int(signal.SIGKILL), activity="handling a request", oom_killed=True, timed_out_after_s=60)

    assert (error.status, str(error)) == (
        504, "no response within 60 s while handling a request; the worker was killed"
    )  # fmt: skip


def test_last_line_that_is_not_blank_is_quoted_up_to_a_limit() -> None:
    output = ["first", "x" * 400, "  ", ""]

    error = explain_death(int(signal.SIGABRT), activity="idle", oom_killed=False, output=output)

    assert str(error).endswith(f"last output: {'x' * 300}")
