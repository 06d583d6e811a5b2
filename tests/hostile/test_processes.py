"""Memory, environment, descriptors, signals and limits of other processes."""

from pathlib import Path

import pytest

from polyhost.container.isolation.places import has_cuda
from tests.container.mms_side import load_command
from tests.hostile.scene import Denied, Scene

PARTIES = ["victim", "supervisor", "fork server", "front end", "log collector", "zygote"]


@pytest.fixture(params=PARTIES)
def party(request: pytest.FixtureRequest, scene: Scene) -> int:
    """Return the pid of a process that is attacked."""
    name = str(request.param)
    return scene.victim_pid if name == "victim" else scene.shared_processes()[name]


def open_in_proc(pid: int, name: str) -> str:
    import os

    path = f"/proc/{pid}/{name}"
    if name in ("cwd", "root"):
        return os.listdir(path)[0]  # noqa: PTH208
    if name == "fd":
        return next(os.readlink(f"{path}/{item}") for item in os.listdir(path))  # noqa: PTH115, PTH208
    with open(path, "rb") as file:  # noqa: PTH123
        return "opened" if name == "mem" else file.read(100).decode(errors="replace")


def write_in_proc(pid: int, name: str, text: str) -> int:
    from pathlib import Path

    return Path(f"/proc/{pid}/{name}").write_text(text)


def call_libc(number: int, arguments: list[int]) -> int:
    import ctypes
    import os

    libc = ctypes.CDLL(None, use_errno=True)
    status: int = libc.syscall(number, *map(ctypes.c_long, arguments))
    if status == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return status


def send_signal(pid: int, number: int) -> str:
    import os

    os.kill(pid, number)
    return "sent"


def lower_limit(pid: int) -> str:
    import resource

    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft - 1, hard))
    return "lowered"


def lower_priority(pid: int) -> str:
    import os

    os.setpriority(os.PRIO_PROCESS, pid, 19)
    return "lowered"


@pytest.mark.parametrize("name", ["mem", "maps", "environ", "fd", "cwd", "root", "smaps", "io"])
def test_what_the_kernel_tells_of_a_process(scene: Scene, party: int, name: str) -> None:
    assert scene.attack(open_in_proc, pid=party, name=name) == Denied("PermissionError")


@pytest.mark.parametrize(("name", "text"), [("oom_score_adj", "1000"), ("clear_refs", "1"), ("coredump_filter", "0")])
def test_settings_of_a_process(scene: Scene, party: int, name: str, text: str) -> None:
    assert scene.attack(write_in_proc, pid=party, name=name, text=text) == Denied("PermissionError")


# Numbers of x86_64: ptrace(PTRACE_ATTACH, ...), process_vm_readv, pidfd_open
@pytest.mark.parametrize("number", [101, 310])
def test_debugging_calls(scene: Scene, party: int, number: int) -> None:
    arguments = [16, party, 0, 0] if number == 101 else [party, 0, 0, 0, 0, 0]

    assert scene.attack(call_libc, number=number, arguments=arguments) == Denied("PermissionError")


def test_descriptors_of_a_process(scene: Scene, party: int) -> None:
    def take(pid: int) -> str:
        import ctypes
        import os

        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syscall(438, os.pidfd_open(pid), 0, 0) == -1:  # pidfd_getfd
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return "taken"

    assert scene.attack(take, pid=party) == Denied("PermissionError")


@pytest.mark.parametrize("number", [0, 18])
def test_signals(scene: Scene, party: int, number: int) -> None:
    """SIGCONT stands for all: the kernel asks the same of each."""
    assert scene.attack(send_signal, pid=party, number=number) == Denied("PermissionError")


def test_limits_and_priority(scene: Scene, party: int) -> None:
    for attack in (lower_limit, lower_priority):
        assert scene.attack(attack, pid=party) == Denied("PermissionError")


def test_signals_to_all_processes_reach_the_attackers_own_only(scene: Scene) -> None:
    """kill(-1) means every process that one may signal."""

    def signal_all() -> str:
        import os

        os.kill(-1, 18)
        return "sent"

    scene.attack(signal_all)
    scene.check_that_all_serve()


def test_kernel_kills_a_model_before_any_shared_process(scene: Scene) -> None:
    """If memory runs out. Without CAP_SYS_RESOURCE a process may lower its score again to where it began."""

    def score(pid: int) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    def lower() -> list[str]:
        import os
        from pathlib import Path

        done = []
        for folder in ("/proc/self", f"/proc/self/task/{os.getpid()}"):
            try:
                done.append(str(Path(folder, "oom_score_adj").write_text("0")))
            except OSError as error:
                done.append(type(error).__name__)
        return done

    if not has_cuda():  # which must write to files beside it
        assert scene.attack(lower) == ["PermissionError"] * 2
    worst = max(score(pid) for pid in scene.shared_processes().values())
    assert score(scene.victim_pid) == 1000
    assert worst < 1000


def test_socket_of_another_models_worker(scene: Scene) -> None:
    """It has a path behind Multi Model Server. Whoever is accepted there gets a worker of the model."""
    if scene.container.native:
        pytest.skip("the native front end's sockets have no path")

    def connect(path: str, command: str) -> str:
        import socket

        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(60)
            try:
                client.connect(path)
                client.send(bytes.fromhex(command))
                return client.recv(1000).decode(errors="replace")
            except (ConnectionError, PermissionError) as error:
                return type(error).__name__

    workers = scene.container.workers_of(scene.victim)
    command = load_command(scene.victim, str(scene.victim_folder)).hex()
    paths = [path for path in (scene.run_dir / "tmp").iterdir() if path.is_socket()]
    for path in paths:
        assert scene.attack(connect, path=str(path), command=command) in ("", "ConnectionResetError", "BrokenPipeError")
    assert len(paths) >= 2
    scene.container.wait_for_event("is not Multi Model Server", model=scene.victim)
    assert scene.container.workers_of(scene.victim) == workers


def test_abstract_socket_of_another_model(scene: Scene) -> None:
    def connect(pid: int) -> str:
        import socket

        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"\0polyhost-test-{pid}")
            return client.recv(100).decode()

    assert scene.attack(connect, pid=scene.victim_pid) == Denied("PermissionError")
