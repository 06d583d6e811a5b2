"""A user for each model: POLYHOST_ISOLATION=strict as root, with the capabilities that Docker gives."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyhost.container.system.procfs import users_of_processes
from tests.hostile import test_files, test_ordinary_models, test_processes
from tests.hostile.scene import Denied, Scene, outcome_of, request, staged
from tests.support.container import ContainerProcess
from tests.support.models import place
from tests.support.waiting import wait_for

DENIED = Denied("PermissionError")
PROCESSES = 64


@pytest.fixture(scope="module")
def users_scene(front: str) -> Iterator[Scene]:
    if os.geteuid() != 0:
        pytest.skip("only root can give models users of their own")
    settings = {"POLYHOST_ISOLATION": "strict", "POLYHOST_WORKER_PROCESSES": str(PROCESSES)}
    with staged(front, ("--capabilities=docker",), **settings) as scene:
        if "no users of their own" in scene.container.log_text():
            pytest.skip(scene.container.events(level="WARNING")[0]["message"])
        yield scene


@pytest.fixture
def other(users_scene: Scene) -> Iterator[str]:
    """Load one more model that runs the code that it is sent."""
    container = users_scene.container
    name = container.loaded(place("runs_code", container.models_dir))
    yield name
    assert container.unload(name).status_code == 200


def ids() -> list[object]:
    import os
    from pathlib import Path

    status = Path("/proc/self/status").read_text()
    capabilities = status.partition("CapPrm:")[2].split()[0]
    return [os.getuid(), *{*os.getresuid(), *os.getresgid()}, os.getgroups(), int(capabilities, 16)]


def user_of(container: ContainerProcess, model: str) -> int:
    """Return the model's user; check that it is nothing else, and has no privileges."""
    user, *others = outcome_of(request(container, model, ids))
    assert others == [user, [], 0]
    return int(user)


def test_each_model_has_a_user_of_its_own(users_scene: Scene, other: str) -> None:
    container = users_scene.container
    users = {user_of(container, model) for model in (users_scene.attacker, other)}

    assert len(users) == 2
    assert all(50_000 <= user < 60_000 for user in users)
    assert Path(f"/proc/{users_scene.victim_pid}").stat().st_uid not in {0, *users}


def test_worker_that_is_replaced_and_another_name_have_the_same_user(users_scene: Scene, other: str) -> None:
    def end() -> None:
        import os

        os._exit(1)

    container = users_scene.container
    user = user_of(container, other)
    assert request(container, other, end).status_code == 500
    assert user_of(container, other) == user

    alias = container.loaded("alias", str(container.folder(other)))
    assert user_of(container, alias) == user
    assert container.unload(alias).status_code == 200
    assert user_of(container, other) == user


def test_files_of_a_private_archive_are_its_models_alone(users_scene: Scene) -> None:
    container = users_scene.container
    name = place("runs_code", container.models_dir)
    folder = container.folder(name)
    (folder / "private").mkdir(mode=0o700)
    (folder / "private" / "weights").write_text("secret")
    (folder / "private" / "weights").chmod(0o600)
    (folder / "link").symlink_to("/etc/shadow")
    for path in (folder / "inference.py", folder, folder.parent):
        path.chmod(0o700)
    container.loaded(name)

    weights = str(folder / "private" / "weights")
    assert outcome_of(request(container, name, test_files.read, path=weights)) == "secret"
    assert outcome_of(request(container, name, test_ordinary_models.writes_into_its_own_folder)) == "cached"
    assert users_scene.attack(test_files.read, path=weights) == DENIED
    assert (folder.stat().st_uid, folder.stat().st_mode & 0o777) == (os.geteuid(), 0o770)
    assert Path("/etc/shadow").stat().st_gid < 50_000
    assert container.unload(name).status_code == 200
    assert container.loaded(name), "by another user"
    assert container.unload(name).status_code == 200


def test_what_landlock_has_no_right_for(users_scene: Scene) -> None:
    def change(path: str, how: str) -> str:
        import os
        from collections.abc import Callable
        from typing import Any

        ways: dict[str, Callable[[], Any]] = {
            "mode": lambda: os.chmod(path, 0o777),  # noqa: PTH101
            "owner": lambda: os.chown(path, 0, 0),
            "times": lambda: os.utime(path),
            "size": lambda: os.stat(path),  # noqa: PTH116
        }
        ways[how]()
        return "done"

    def affinity(pid: int) -> str:
        import os

        os.sched_setaffinity(pid, os.sched_getaffinity(0))
        return "set"

    weights = users_scene.victim_folder / "weights.txt"
    for path in (weights, users_scene.victim_temp_file):
        for how in ("mode", "owner", "times", "size"):
            assert users_scene.attack(change, path=str(path), how=how) == DENIED, (path, how)
    for how in ("mode", "owner", "times"):
        assert users_scene.attack(change, path="/etc/passwd", how=how) == DENIED
    for pid in (users_scene.victim_pid, *users_scene.shared_processes().values()):
        assert users_scene.attack(affinity, pid=pid) == DENIED


def test_system_v_memory_of_another_model(users_scene: Scene, other: str) -> None:
    def attach(flags: int) -> str:
        import ctypes
        import os

        libc = ctypes.CDLL(None, use_errno=True)
        number = libc.shmget(0x706F6C79, 4096, flags)
        if number == -1:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        if not flags:
            libc.shmctl(number, 0, None)  # IPC_RMID
        return "attached"

    container = users_scene.container
    assert outcome_of(request(container, other, attach, flags=0o1600)) == "attached"
    assert users_scene.attack(attach, flags=0o600) == DENIED
    assert outcome_of(request(container, other, attach, flags=0)) == "attached"


def test_sockets_of_workers_behind_mms(users_scene: Scene) -> None:
    def connect(path: str) -> str:
        import socket

        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
        return "connected"

    sockets = [path for path in (users_scene.run_dir / "tmp").iterdir() if path.is_socket()]
    assert all(users_scene.attack(connect, path=str(path)) == DENIED for path in sockets)
    assert len(sockets) >= (0 if users_scene.container.native else 2)


def test_what_the_strict_mode_closes_is_closed(users_scene: Scene) -> None:
    test_files.test_files_of_another_model(users_scene)
    test_files.test_temp_folder_of_another_model(users_scene)
    for pid in (users_scene.victim_pid, *users_scene.shared_processes().values()):
        for name in ("mem", "environ", "maps", "fd"):
            assert users_scene.attack(test_processes.open_in_proc, pid=pid, name=name) == DENIED
        assert users_scene.attack(test_processes.send_signal, pid=pid, number=18) == DENIED
        assert users_scene.attack(test_processes.lower_limit, pid=pid) == DENIED


def test_management(users_scene: Scene) -> None:
    def unload(port: int, name: str) -> int:
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("DELETE", f"/models/{name}")
        return connection.getresponse().status

    container = users_scene.container
    if not container.native:
        pytest.skip("Multi Model Server answers whoever asks (SECURITY.md)")
    assert users_scene.attack(unload, port=container.port, name=users_scene.victim) == 403
    users_scene.check_that_all_serve()


def test_fork_bomb_has_an_end_and_nothing_of_it_is_left(users_scene: Scene) -> None:
    """Also what hides: in sessions of their own, without the mark by which the fork server knows leftovers."""

    def explode() -> int:
        import ctypes
        import os
        import resource
        import signal

        started = 0
        while True:
            try:
                pid = os.fork()
            except OSError:
                return started
            if pid == 0:
                os.setsid()
                ctypes.CDLL(None).prctl(4, 0)  # not dumpable
                resource.setrlimit(10, (7, 7))  # another mark
                while True:
                    signal.pause()
            started += 1

    container = users_scene.container
    bomb = container.loaded(place("runs_code", container.models_dir))
    user = user_of(container, bomb)
    started = outcome_of(request(container, bomb, explode))

    assert PROCESSES // 2 < started < PROCESSES
    users_scene.check_that_all_serve()
    assert container.unload(bomb).status_code == 200
    wait_for(lambda: user not in users_of_processes(), "the end of all of the model's processes")


def test_fork_server_that_starts_anew_keeps_the_users(users_scene: Scene) -> None:
    container = users_scene.container
    user = user_of(container, users_scene.attacker)
    process = container.process_of("-m", "polyhost.container.forkserver")
    process.kill()
    wait_for(lambda: process not in container.processes(), "the end of the fork server")
    container.wait_for_event("restarting it")

    later = container.loaded(place("runs_code", container.models_dir))
    assert user_of(container, users_scene.attacker) == user
    assert user_of(container, later) not in (user, Path(f"/proc/{users_scene.victim_pid}").stat().st_uid)
    later_user = user_of(container, later)
    assert container.unload(later).status_code == 200
    wait_for(lambda: later_user not in users_of_processes(), "the end of the model's processes")


def test_memory_is_measured(users_scene: Scene) -> None:
    container = users_scene.container
    if not container.native:
        pytest.skip("Multi Model Server has no metrics")

    size = wait_for(lambda: container.metric("polyhost_worker_memory_bytes", model=users_scene.victim), "a measurement")

    assert 100_000 < size < 100_000_000


@pytest.mark.parametrize(
    ("work", "result"),
    [
        (test_ordinary_models.writes_into_its_own_folder, "cached"),
        (test_ordinary_models.starts_programs, ["", "2", "imported", "-15"]),
        (test_ordinary_models.uses_threads_and_limits, [0, 1, 4, 9, 16]),
        (test_ordinary_models.looks_names_up, [True, "root", "127.0.0.1", True]),
        (test_ordinary_models.looks_at_itself, [True] * 4),
    ],
)
def test_an_ordinary_model(users_scene: Scene, work: test_ordinary_models.Work, result: object) -> None:
    assert users_scene.attack(work) == result


def test_log_and_standard_output(users_scene: Scene) -> None:
    def write() -> str:
        import getpass
        import logging
        from pathlib import Path

        logging.warning("logged by a user")
        Path("/dev/stdout").write_text("printed by its path\n")
        return getpass.getuser()

    assert users_scene.attack(write).startswith("model-5")
    users_scene.container.wait_for_event("logged by a user", model=users_scene.attacker)
    users_scene.container.wait_for_event("printed by its path", model=users_scene.attacker)


def test_models_have_no_users_where_capabilities_are_missing(front: str) -> None:
    with staged(front, ("--capabilities=none",), POLYHOST_ISOLATION="strict") as scene:
        (line,) = [
            event for event in scene.container.events(level="WARNING") if "users of their own" in event["message"]
        ]
        reason = "lacks the capabilities CHOWN" if os.geteuid() == 0 else "only root can"
        assert reason in line["message"]
        assert outcome_of(request(scene.container, scene.attacker, ids))[0] == os.geteuid()
        scene.check_that_all_serve()
