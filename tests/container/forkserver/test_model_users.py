"""Users of models: given out, kept, and free again when their processes have ended."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyhost.container.control_protocol import ModelRef
from polyhost.container.forkserver.model_users import ModelUsers
from polyhost.container.forkserver.records import HostedModel
from polyhost.container.system.procfs import users_of_processes
from tests.support.waiting import wait_for

# Two users for each of the processes that run tests at the same time: what belongs to a user is killed here.
FIRST = 64_321 + 2 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
LAST = FIRST + 1

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give models users of their own")


def hosted(folder: Path, key: int, directory: str = "") -> HostedModel:
    temp_dir = folder / f"temp-{key}"
    temp_dir.mkdir(exist_ok=True)
    ref = ModelRef(f"model-{key}", str(folder / (directory or str(key))), "")
    return HostedModel(key=key, ref=ref, temp_dir=temp_dir, response_timeout_s=60, framework="bare")


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """Run a process of the first user's."""
    process = subprocess.Popen(["sleep", "600"], user=FIRST)
    yield process
    process.kill()
    process.wait()


def test_each_folder_has_a_user_of_its_own(tmp_path: Path) -> None:
    users = ModelUsers((FIRST, LAST))
    first, second = hosted(tmp_path, 1), hosted(tmp_path, 2)
    same = hosted(tmp_path, 3, directory="1")
    for model in (first, second, same):
        users.claim(model)

    assert (first.user, second.user, same.user) == (FIRST, LAST, FIRST)
    assert first.temp_dir.stat().st_uid == FIRST
    with pytest.raises(OSError, match="all 2 users of models are in use \\(POLYHOST_MODEL_UIDS\\)"):
        users.claim(hosted(tmp_path, 4))
    users.release(first, has_leftovers=False)
    users.check()
    with pytest.raises(OSError, match="in use"):
        users.claim(hosted(tmp_path, 4))


def test_a_user_with_processes_is_not_free(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    users = ModelUsers((FIRST, LAST))
    model = hosted(tmp_path, 1)
    users.claim(model)

    assert model.user == LAST


def test_what_a_model_has_left_is_killed_before_its_user_is_free(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    users = ModelUsers((FIRST, FIRST))
    model = hosted(tmp_path, 1)
    os.chown(model.temp_dir, FIRST, FIRST)  # as a fork server before this one has left it
    users.claim(model)
    assert model.user == FIRST
    users.release(model, has_leftovers=True)

    assert sleeper.wait(60) == -signal.SIGKILL

    def is_free() -> bool:
        users.check()
        try:
            users.claim(hosted(tmp_path, 2))
        except OSError:
            return False
        return True

    wait_for(is_free, "a free user")
    assert FIRST not in users_of_processes()


def test_models_have_none_without_a_range(tmp_path: Path) -> None:
    users = ModelUsers(None)
    model = hosted(tmp_path, 1)
    users.claim(model)
    users.release(model, has_leftovers=True)
    users.check()

    assert model.user is None
