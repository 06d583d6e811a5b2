"""A kernel without Landlock: what the standard mode closes all the same, as root with the capabilities of Docker."""

import os
from collections.abc import Iterator

import pytest

from tests.hostile import test_processes, test_system
from tests.hostile.scene import Denied, Scene, staged
from tests.support.processes import query

DENIED = Denied("PermissionError")


@pytest.fixture(scope="module")
def open_scene(front: str) -> Iterator[Scene]:
    with staged(front, ("--no-landlock", "--capabilities=docker")) as scene:
        assert "this kernel has no Landlock" in scene.container.log_text()
        yield scene


def test_debugging_calls_limits_and_priorities(open_scene: Scene) -> None:
    for pid in (open_scene.victim_pid, *open_scene.shared_processes().values()):
        for number in (101, 310):
            test_processes.test_debugging_calls(open_scene, pid, number)
        test_processes.test_descriptors_of_a_process(open_scene, pid)
        test_processes.test_limits_and_priority(open_scene, pid)


def test_the_system(open_scene: Scene) -> None:
    test_system.test_packets_of_the_loopback_interface(open_scene)
    test_system.test_device_nodes(open_scene)
    test_system.test_namespaces_and_mounts(open_scene)
    test_system.test_settings_of_the_kernel(open_scene)


def test_socket_of_another_models_worker(open_scene: Scene) -> None:
    test_processes.test_socket_of_another_models_worker(open_scene)


@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user's processes have no privileges that models lack")
def test_java_and_launchers(open_scene: Scene) -> None:
    """They can be dumped, but have capabilities that models have not."""
    container = open_scene.container
    if container.native:
        pytest.skip("only Multi Model Server has them")
    java = [process.pid for process in container.processes() if query(process.name) == "java"]
    launchers = [process.pid for process in container.launchers_of(open_scene.victim)]
    assert java
    assert launchers
    for pid in (*java, *launchers):
        for name in ("mem", "environ", "fd"):
            assert open_scene.attack(test_processes.open_in_proc, pid=pid, name=name) == DENIED, (pid, name)
