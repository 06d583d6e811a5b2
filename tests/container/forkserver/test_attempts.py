"""A model that two fork servers have died of is not opened by a third."""

import os
import signal
from pathlib import Path

import pytest

from polyhost.container.errors import ForkServerDiedError
from polyhost.container.forkserver.attempts import Attempts


def die_while_opening(folder: Path, key: int) -> None:
    pid = os.fork()
    if pid == 0:
        with Attempts(folder).attempt(key):
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_third_attempt_is_refused_and_concerns_no_other_model(tmp_path: Path) -> None:
    folder = tmp_path / "attempts"
    for _ in range(2):
        die_while_opening(folder, 5)
        with Attempts(folder).attempt(6):
            pass
    refused = pytest.raises(ForkServerDiedError, match="the fork server died 2 times while it opened this model")
    with refused, Attempts(folder).attempt(5):
        raise AssertionError("not reached")
    with Attempts(folder).attempt(5):  # the number is another model's now
        pass
    assert list(folder.iterdir()) == []


def test_success_and_errors_are_no_deaths(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path / "attempts")
    die_while_opening(tmp_path / "attempts", 5)
    with attempts.attempt(5):
        pass
    for _ in range(3):
        with pytest.raises(LookupError), attempts.attempt(5):
            raise LookupError
    with attempts.attempt(5):
        pass
