"""A hostile model in the image, as root and as a plain user: what tests/hostile tries, in a real container.

The engine's seccomp profile and capabilities are those that users have; the kernel is this machine's. Where it has no
Landlock, or the profile denies it, the container says so and these tests are skipped.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.hostile import test_system
from tests.hostile.scene import Denied, body_of, outcome_of
from tests.hostile.test_files import append, list_folder, read, remove, truncate, write
from tests.hostile.test_ordinary_models import writes_into_its_own_folder
from tests.hostile.test_processes import call_libc, lower_limit, open_in_proc, send_signal, write_in_proc
from tests.hostile.test_users import ids
from tests.image.engine import BUILD_SECONDS, ImageContainer, docker, serving
from tests.support.models import MODELS
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.image, pytest.mark.timeout(BUILD_SECONDS)]

DENIED = Denied("PermissionError")
VICTIM, ATTACKER, PRIVATE = "victim", "attacker", "private"
PROCESSES = 64  # of one model, in the strict mode
# Of each process in the container, without a tool that the image may lack.
_PROCESSES = "for p in /proc/[0-9]*; do echo ${p#/proc/} $(tr '\\0' ' ' <$p/cmdline); done"


@dataclass(frozen=True)
class ImageScene:
    """A container of the image with a victim and an attacker."""

    container: ImageContainer

    def attack(self, function: Callable[..., Any], **arguments: Any) -> Any:
        """Have the attacker call the function; return what that returns, or Denied."""
        return self.ask(ATTACKER, function, **arguments)

    def ask(self, model: str, function: Callable[..., Any], **arguments: Any) -> Any:
        """Have a model of kind `runs_code` call the function; return what that returns, or Denied."""
        return outcome_of(self.container.client.invoke(model, body_of(function, **arguments), "application/json"))

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


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("hostile")
    for name, kind in ((VICTIM, "holds_a_secret"), (ATTACKER, "runs_code"), (PRIVATE, "runs_code")):
        shutil.copytree(MODELS / kind, models / name / "model")
    models.chmod(0o755)  # a folder that pytest makes is for its owner alone
    return models


@contextmanager
def staged(image: str, front: str, mount: str, *options: str) -> Iterator[ImageScene]:
    settings = ("SAGEMAKER_MULTI_MODEL=true", f"POLYHOST_FRONTEND={front}", "POLYHOST_ZYGOTES=bare")
    with serving(image, *options, *(f"--env={setting}" for setting in settings), f"--volume={mount}") as container:
        if "Landlock" not in container.logs:
            pytest.skip(f"no Landlock in this engine's containers: {container.logs[:2000]}")
        for name in (VICTIM, ATTACKER):
            assert container.load(name).status_code == 200, container.logs
        yield ImageScene(container)


@pytest.fixture(scope="module", params=["root", "user"])
def scene(request: pytest.FixtureRequest, front: str, sklearn_image: str, models: Path) -> Iterator[ImageScene]:
    """Run the image as root, as SageMaker does, and as a plain user, with each front end."""
    user = () if request.param == "root" else ("--user=1000:1000",)
    with staged(sklearn_image, front, f"{models}:/opt/ml/models:ro", *user) as scene:
        yield scene


@pytest.fixture(scope="module")
def strict_scene(
    front: str, sklearn_image: str, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ImageScene]:
    """Run the image in the strict mode, as root: each model has a user. One archive is its owner's alone."""
    copy = tmp_path_factory.mktemp("strict") / "models"
    shutil.copytree(models, copy)
    for path in (copy / PRIVATE / "model" / "inference.py", copy / PRIVATE / "model", copy / PRIVATE):
        path.chmod(0o700 if path.is_dir() else 0o600)
    copy.parent.chmod(0o755)
    settings = ("--env=POLYHOST_ISOLATION=strict", f"--env=POLYHOST_WORKER_PROCESSES={PROCESSES}")
    with staged(sklearn_image, front, f"{copy}:/opt/ml/models", *settings) as scene:
        yield scene


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


def test_packets_devices_namespaces_and_the_kernel(scene: ImageScene) -> None:
    test_system.test_packets_of_the_loopback_interface(scene)
    test_system.test_device_nodes(scene)
    test_system.test_namespaces_and_mounts(scene)
    test_system.test_settings_of_the_kernel(scene)


def test_each_model_has_a_user_in_the_strict_mode(strict_scene: ImageScene) -> None:
    container = strict_scene.container
    assert "a user for each model" in container.logs
    assert container.load(PRIVATE).status_code == 200, container.logs

    found = [strict_scene.ask(model, ids) for model in (ATTACKER, PRIVATE)]

    assert [others for _, *others in found] == [[user, [], 0] for user, *_ in found]
    assert len({user for user, *_ in found}) == 2
    assert all(50_000 <= user < 60_000 for user, *_ in found)
    private = f"/opt/ml/models/{PRIVATE}/model/inference.py"
    assert strict_scene.ask(PRIVATE, read, path=private).startswith('"""')
    assert strict_scene.ask(PRIVATE, writes_into_its_own_folder) == "cached"
    assert strict_scene.attack(read, path=private) == DENIED
    assert container.client.unload(PRIVATE).status_code == 200


def test_what_is_closed_in_the_standard_mode_is_closed_in_the_strict_mode(strict_scene: ImageScene) -> None:
    test_files_of_others(strict_scene)
    test_memory_environment_and_descriptors_of_all_processes(strict_scene)
    test_signals_and_limits_of_all_processes(strict_scene)
    test_packets_devices_namespaces_and_the_kernel(strict_scene)


def test_owner_and_mode_of_others_files(strict_scene: ImageScene) -> None:
    def change(path: str) -> list[str]:
        import os
        from collections.abc import Callable
        from typing import Any

        ways: dict[str, Callable[[], Any]] = {
            "mode": lambda: os.chmod(path, 0o777),  # noqa: PTH101
            "owner": lambda: os.chown(path, 0, 0),
            "times": lambda: os.utime(path),
        }
        done = []
        for name, way in ways.items():
            try:
                way()
                done.append(name)
            except PermissionError:
                pass
        return done

    for path in (f"/opt/ml/models/{VICTIM}/model/weights.txt", strict_scene.victim_says("temp_file"), "/etc/passwd"):
        assert strict_scene.attack(change, path=path) == [], path


def test_processes_of_a_model_are_limited_and_end_with_it(strict_scene: ImageScene) -> None:
    def explode() -> int:
        import os
        import signal

        started = 0
        while True:
            try:
                pid = os.fork()
            except OSError:
                return started
            if pid == 0:
                os.setsid()
                while True:
                    signal.pause()
            started += 1

    container = strict_scene.container
    assert container.load(PRIVATE).status_code == 200
    before = len(strict_scene.others())
    assert PROCESSES // 2 < strict_scene.ask(PRIVATE, explode) < PROCESSES
    assert strict_scene.victim_says("pid")
    assert container.client.unload(PRIVATE).status_code == 200
    wait_for(lambda: len(strict_scene.others()) <= before, "the end of the model's processes")


@pytest.mark.parametrize("options", [("--cap-drop=ALL",), ("--user=1000:1000",)], ids=["no capabilities", "plain user"])
def test_models_of_no_users_of_their_own(
    front: str, sklearn_image: str, models: Path, options: tuple[str, ...]
) -> None:
    mount = f"{models}:/opt/ml/models:ro"
    with staged(sklearn_image, front, mount, "--env=POLYHOST_ISOLATION=strict", *options) as scene:
        assert scene.container.logs.count("the models have no users of their own") == 1
        user, *_ = scene.attack(ids)
        assert user == (1000 if "--user=1000:1000" in options else 0)
        test_files_of_others(scene)


def test_file_that_its_models_user_cannot_read_is_named(front: str, sklearn_image: str, tmp_path: Path) -> None:
    """Where the models' folder is mounted read-only."""
    for name, kind in ((VICTIM, "holds_a_secret"), (ATTACKER, "runs_code"), (PRIVATE, "runs_code")):
        shutil.copytree(MODELS / kind, tmp_path / name / "model")
    (tmp_path / PRIVATE / "model" / "inference.py").chmod(0o600)
    tmp_path.chmod(0o755)
    mount = f"{tmp_path}:/opt/ml/models:ro"
    with staged(sklearn_image, front, mount, "--env=POLYHOST_ISOLATION=strict") as scene:
        assert scene.attack(ids)[0] >= 50_000
        assert scene.container.load(PRIVATE).status_code >= 400
        path = f"/opt/ml/models/{PRIVATE}/model/inference.py"
        assert f"cannot read {path}" in scene.container.logs
        assert scene.victim_says("pid")
