"""The other side of the attacks: what ordinary models do still works in the confinement."""

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest

from polyhost.container.isolation.places import has_cuda
from tests.hostile.scene import Denied, Scene, request
from tests.hostile.test_files import list_folder


def works_with_temp_files() -> list[str]:
    import os
    import shutil
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:  # in TMPDIR
        Path(folder, "a").write_text("x")
        os.replace(Path(folder, "a"), Path(folder, "b"))  # noqa: PTH105
        program = Path(folder, "program")
        program.write_text("#!/bin/sh\necho started\n")
        program.chmod(0o700)
        moved = Path("/tmp", f"polyhost-test-{os.getpid()}")
        shutil.move(Path(folder, "b"), moved)  # from one folder to another
        content = moved.read_text()
        moved.unlink()
        Path(folder, "socket-link").symlink_to("/nowhere")
        os.mkfifo(Path(folder, "fifo"))
        return [content, os.popen(str(program)).read().strip()]


def writes_into_its_own_folder() -> str:
    from pathlib import Path

    Path("cache").mkdir(exist_ok=True)
    Path("cache", "x.pyc").write_text("cached")
    return Path("cache", "x.pyc").read_text()


def starts_programs() -> list[str]:
    import subprocess
    import sys

    shell = subprocess.run(["sh", "-c", "ls /usr >/dev/null; echo $HOME; id -u"], capture_output=True, text=True)
    code = "import json, ssl; print('imported')"
    python = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    background = subprocess.Popen(["sleep", "60"])
    background.terminate()  # a signal to a process of its own
    background.wait()
    return [shell.stderr, str(len(shell.stdout.split())), python.stdout.strip(), str(background.returncode)]


def uses_multiprocessing() -> list[int]:
    import multiprocessing

    found = []
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            found += pool.map(abs, [-1, -2])
        queue = context.Queue()
        queue.put(3)
        found.append(queue.get())
        queue.close()
        queue.join_thread()
    return found


def shares_memory() -> int:
    from multiprocessing.shared_memory import SharedMemory

    memory = SharedMemory(create=True, size=100)
    again = SharedMemory(memory.name)
    assert memory.buf is not None and again.buf is not None
    memory.buf[0] = 7
    value = int(again.buf[0])
    again.close()
    memory.close()
    memory.unlink()
    return value


def uses_threads_and_limits() -> list[object]:
    import os
    import resource
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as executor:
        squares = list(executor.map(lambda value: value * value, range(5)))
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    os.sched_setaffinity(0, os.sched_getaffinity(0))
    os.nice(0)
    return squares


def keeps_caches_at_home() -> list[str]:
    import os
    from pathlib import Path

    written = []
    for name in (".config/matplotlib/matplotlibrc", ".u2net/model.onnx", ".cache/huggingface/hub/a/b"):
        path = Path.home() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        written.append(path.read_text())
        path.unlink()
    assert os.access(Path.home(), os.W_OK)
    return written


def looks_names_up() -> list[object]:
    import pwd
    import socket
    import ssl
    import time
    import zoneinfo

    zone = zoneinfo.available_timezones() and time.tzname
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    client.close()
    server.close()
    return [bool(zone), pwd.getpwuid(0).pw_name, socket.gethostbyname("localhost"), bool(ssl.create_default_context())]


def names_its_threads() -> str:
    import threading
    from pathlib import Path

    named, done = threading.Event(), threading.Event()

    def work() -> None:
        named.set()
        done.wait()

    thread = threading.Thread(target=work)
    thread.start()
    named.wait()
    comm = Path(f"/proc/self/task/{thread.native_id}/comm")
    comm.write_text("named")  # as CUDA does, which does not start without
    done.set()
    thread.join()
    return "named"


def looks_at_itself() -> list[bool]:
    import os
    from pathlib import Path

    own = [Path(f"/proc/self/{name}").read_text() for name in ("status", "maps", "smaps_rollup", "environ", "limits")]
    machine = [Path(f"/proc/{name}").read_text() for name in ("meminfo", "cpuinfo", "stat", "loadavg", "mounts")]
    return [all(own), all(machine), bool(os.listdir("/proc/self/fd")), bool(os.listdir("/sys/devices"))]  # noqa: PTH208


Work = Callable[..., Any]

CASES: list[tuple[Work, Any]] = [
    (works_with_temp_files, ["x", "started"]),
    (writes_into_its_own_folder, "cached"),
    (starts_programs, ["", "2", "imported", "-15"]),
    (uses_multiprocessing, [1, 2, 3] * 3),
    (shares_memory, 7),
    (uses_threads_and_limits, [0, 1, 4, 9, 16]),
    (keeps_caches_at_home, ["x"] * 3),
    (looks_names_up, [True, "root", "127.0.0.1", True]),
    (looks_at_itself, [True] * 4),
]


@pytest.mark.parametrize(("work", "result"), CASES, ids=[work.__name__ for work, _ in CASES])
def test_an_ordinary_model(scene: Scene, work: Work, result: Any) -> None:
    assert scene.attack(work) == result


@pytest.mark.skipif(not has_cuda(), reason="CUDA alone needs it, and there is no NVIDIA GPU")
def test_names_of_threads(scene: Scene) -> None:
    assert scene.attack(names_its_threads) == "named"


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_workers_of_a_data_loader(scene: Scene) -> None:
    def load_data() -> list[list[int]]:
        import torch
        from torch.utils.data import DataLoader, TensorDataset

        data = TensorDataset(torch.arange(8))
        loader = DataLoader(data, batch_size=4, num_workers=2)
        batches = [batch.tolist() for (batch,) in loader]
        torch.set_num_threads(2)
        torch.ones(400, 400) @ torch.ones(400, 400)
        return batches

    assert scene.attack(load_data) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_a_worker_that_is_replaced_is_confined_again(scene: Scene) -> None:
    def end() -> None:
        import os

        os._exit(1)

    assert request(scene.container, scene.attacker, end).status_code == 500
    assert scene.attack(list_folder, path=str(scene.container.models_dir)) == Denied("PermissionError")
