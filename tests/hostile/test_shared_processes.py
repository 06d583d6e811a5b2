"""The processes that serve all models, on a kernel without Landlock and as a user without privileges."""

from collections.abc import Iterator

import pytest

from tests.hostile.scene import Denied, Scene, staged
from tests.hostile.test_processes import open_in_proc
from tests.support.waiting import wait_for

DENIED = Denied("PermissionError")
PARTIES = ["supervisor", "fork server", "front end", "log collector", "zygote"]


@pytest.fixture(scope="module")
def open_scene(front: str) -> Iterator[Scene]:
    """Stage the scene where all processes are the same user's, and nothing but the user tells them apart."""
    with staged(front, ("--no-landlock", "--capabilities=none")) as scene:
        assert "this kernel has no Landlock" in scene.container.log_text()
        yield scene


@pytest.mark.parametrize("party", PARTIES)
def test_memory_environment_and_descriptors(open_scene: Scene, party: str) -> None:
    pid = open_scene.shared_processes()[party]

    for name in ("mem", "maps", "environ", "fd", "cwd", "root", "smaps", "io"):
        assert open_scene.attack(open_in_proc, pid=pid, name=name) == DENIED, name


def test_workers_are_still_measured(open_scene: Scene) -> None:
    """They can be read, unlike the zygote that they were forked from."""
    container = open_scene.container
    if not container.native:
        pytest.skip("Multi Model Server has no metrics")

    size = wait_for(lambda: container.metric("polyhost_worker_memory_bytes", model=open_scene.victim), "a measurement")

    assert size > 100_000
