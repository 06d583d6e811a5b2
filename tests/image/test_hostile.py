"""A hostile model in the image, as root and as a plain user: what tests/hostile tries, in a real container.

The engine's seccomp profile and capabilities are those that users have; the kernel is this machine's. Where it has no
Landlock, or the profile denies it, the container says so and these tests are skipped.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.scene import Denied, body_of, outcome_of
from tests.hostile.test_files import append, list_folder, read, remove, truncate, write
from tests.hostile.test_processes import call_libc, lower_limit, open_in_proc, send_signal, write_in_proc
from tests.image.engine import BUILD_SECONDS, ImageContainer, docker, serving
from tests.support.models import MODELS

pytestmark = [pytest.mark.image, pytest.mark.timeout(BUILD_SECONDS)]

DENIED = Denied("PermissionError")
VICTIM, ATTACKER = "victim", "attacker"
# Of each process in the container, without a tool that the image may lack.
_PROCESSES = "for p in /proc/[0-9]*; do echo ${p#/proc/} $(tr '\\0' ' ' <$p/cmdline); done"


@dataclass(frozen=True)
class ImageScene:
    """A container of the image with a victim and an attacker."""

    container: ImageContainer

    def attack(self, function: Callable[..., Any], **arguments: Any) -> Any:
        """Have the attacker call the function; return what that returns, or Denied."""
        body = body_of(function, **arguments)
        return outcome_of(self.container.client.invoke(ATTACKER, body, "application/json"))

    def victim_says(self, key: str) -> Any:
        response = self.container.client.invoke(VICTIM, "{}", "application/json")
        assert response.status_code == 200, response.text
        return response.json()[key]

    def others(self) -> dict[int, str]:
        """Return the pids of all of the container's processes but the attacker's, with their command lines."""
        lines = docker("exec", self.container.id, "sh", "-c", _PROCESSES).stdout.splitlines()
        found = {int(line.split(" ", 1)[0]): line.partition(" ")[2] for line in lines}
        own = self.attack(own_pid)
        # Not the shell that lists them, nor what has ended.
        return {pid: command for pid, command in found.items() if pid != own and command and "/proc/" not in command}


@pytest.fixture(scope="module", params=["root", "user"])
def scene(
    request: pytest.FixtureRequest, front: str, sklearn_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ImageScene]:
    """Run the image as root, as SageMaker does, and as a plain user, with each front end."""
    models = tmp_path_factory.mktemp("hostile")
    for name, kind in ((VICTIM, "holds_a_secret"), (ATTACKER, "runs_code")):
        shutil.copytree(MODELS / kind, models / name / "model")
    models.chmod(0o755)  # a folder that pytest makes is for its owner alone
    user = () if request.param == "root" else ("--user=1000:1000",)
    settings = ("SAGEMAKER_MULTI_MODEL=true", f"POLYHOST_FRONTEND={front}", "POLYHOST_ZYGOTES=bare")
    with serving(
        sklearn_image, *user, *(f"--env={setting}" for setting in settings), f"--volume={models}:/opt/ml/models:ro"
    ) as container:
        if "Landlock" not in container.logs.partition("isolation standard")[2].partition("\n")[0]:
            pytest.skip(f"no Landlock in this engine's containers: {container.logs[:2000]}")
        for name in (VICTIM, ATTACKER):
            assert container.load(name).status_code == 200, container.logs
        yield ImageScene(container)


def own_pid() -> int:
    import os

    return os.getpid()


def test_files_of_others(scene: ImageScene) -> None:
    weights = f"/opt/ml/models/{VICTIM}/model/weights.txt"
    secret = scene.victim_says("temp_file")
    run_dir = str(Path(secret).parents[2])
    for attack in (read, append, truncate, remove):
        assert scene.attack(attack, path=secret) == DENIED, attack.__name__
    assert scene.attack(read, path=weights) == DENIED
    for folder in ("/opt/ml/models", f"/opt/ml/models/{VICTIM}/model", run_dir, str(Path(secret).parent)):
        assert scene.attack(list_folder, path=folder) == DENIED, folder
    for path in (f"{run_dir}/planted", "/etc/planted", "/usr/local/planted"):
        assert scene.attack(write, path=path) == DENIED, path
    # A plain user's container has no such folder.
    measured = scene.attack(write, path="/var/lib/polyhost/estimates.json")
    assert measured in (DENIED, Denied("FileNotFoundError"))


def test_memory_environment_and_descriptors_of_all_processes(scene: ImageScene) -> None:
    others = scene.others()
    assert scene.victim_says("pid") in others
    assert 1 in others
    for pid, command in others.items():
        for name in ("mem", "environ", "maps", "fd"):
            assert scene.attack(open_in_proc, pid=pid, name=name) == DENIED, (name, pid, command)
        assert scene.attack(write_in_proc, pid=pid, name="oom_score_adj", text="1000") == DENIED, (pid, command)
        # Numbers of x86_64: ptrace(PTRACE_ATTACH, ...) and process_vm_readv.
        assert scene.attack(call_libc, number=101, arguments=[16, pid, 0, 0]) == DENIED, (pid, command)
        assert scene.attack(call_libc, number=310, arguments=[pid, 0, 0, 0, 0, 0]) == DENIED, (pid, command)


def test_signals_and_limits_of_all_processes(scene: ImageScene) -> None:
    if "signals" not in scene.container.logs:
        pytest.skip("this kernel's Landlock has no rule for signals (before Linux 6.12)")
    for pid, command in scene.others().items():
        assert scene.attack(send_signal, pid=pid, number=18) == DENIED, (pid, command)
        assert scene.attack(lower_limit, pid=pid) == DENIED, (pid, command)
    assert scene.container.client.ping()
    assert scene.victim_says("pid")
