"""The fork server in a container: what one model does to the resources that it shares must not affect the others."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from polyhost.container.config import Config
from polyhost.container.control_protocol import Channel, Heartbeat
from polyhost.container.log import LogDescriptors
from tests.support.container import ContainerProcess, running
from tests.support.models import place
from tests.support.processes import is_alive, peak_memory
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerProcess]:
    limits = {"SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS": "2", "POLYHOST_ZYGOTES": "bare"}
    with running(tmp_path_factory.mktemp("forkserver"), "native", **limits) as started:
        yield started


def load(container: ContainerProcess, name: str, handler: str) -> str:
    folder = container.models_dir / name / "model"
    folder.mkdir(parents=True)
    (folder / "inference.py").write_text(handler)
    return container.loaded(name)


SCRIBBLES = """
import ctypes
import time


def model_fn(model_dir):
    return None


def transform_fn(model, body, content_type, accept):
    (line,) = [line for line in open("/proc/self/maps") if "/memfd:polyhost-status" in line]
    ctypes.memset(int(line.split("-")[0], 16), 255, 4096)
    print("scribbled")
    if body == "and dies":
        ctypes.string_at(0)
    time.sleep(30)
"""


def test_garbage_in_a_status_page_affects_its_own_model_only(container: ContainerProcess) -> None:
    scribbler = load(container, "scribbler", SCRIBBLES)
    other = container.loaded(place("never_responds", container.models_dir))
    with ThreadPoolExecutor() as pool:
        scribbling = pool.submit(container.invoke, scribbler, "and goes on")
        wait_for(lambda: container.events(message="scribbled"), "the garbage")

        late = container.invoke(other, "wait")
        assert (late.status_code, late.json()["type"]) == (504, "WorkerDiedError")
        assert scribbling.result().status_code == 504

    assert container.invoke(load(container, "another", SCRIBBLES), "and dies").status_code == 500
    for name in container.names():
        assert container.unload(name).status_code == 200
    assert container.events(logger="polyhost.container.system.event_loop") == []


def test_too_long_name_fails_its_own_load_only(tmp_path: Path) -> None:
    """Behind MMS: the native front end rejects the name itself."""
    with running(tmp_path, "mms", POLYHOST_ZYGOTES="bare") as container:
        name = place("echo", container.models_dir)
        fork_server = container.process_of("-m", "polyhost.container.forkserver")
        (zygote,) = wait_for(fork_server.children, "the zygote")

        assert container.load("x" * 70_000, str(container.models_dir / name / "model")).status_code == 500
        container.wait_for_event("shorten the names and paths")

        container.loaded(name)
        assert container.names() == [name]
        assert container.invoke(name, "1").text == "1"
        assert is_alive(zygote)


def test_source_that_takes_all_memory_of_a_parser_fails_its_own_load_only(front: str, tmp_path: Path) -> None:
    """The limit is for the worker, which does parse it; the fork server's peak says that it has not."""
    with running(tmp_path, front, POLYHOST_ZYGOTES="bare") as container:
        fork_server = container.process_of("-m", "polyhost.container.forkserver")
        (zygote,) = wait_for(fork_server.children, "the zygote")
        wait_for(zygote.children, "a spare")
        for process in (fork_server, *fork_server.children(recursive=True)):
            process.rlimit(psutil.RLIMIT_AS, (700 << 20, 700 << 20))
        hostile = container.models_dir / "hostile" / "model"
        hostile.mkdir(parents=True)
        (hostile / "inference.py").write_text("x = a" + "[0]" * (12 << 20))

        assert container.load("hostile", str(hostile)).status_code >= 400
        container.loaded(place("echo", container.models_dir))
        assert is_alive(fork_server)
        assert peak_memory(fork_server.pid) < 150 << 20


LEAVES_PROCESSES = """
import os
import subprocess
import time


def model_fn(model_dir):
    return None


def transform_fn(model, body, content_type, accept):
    command = ["/bin/sh", "-c", "/bin/sleep 600 & echo; exec /bin/sleep 600"]
    program = subprocess.Popen(command, start_new_session=True, env={}, cwd="/", stdout=subprocess.PIPE)
    program.stdout.readline()
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if daemon := os.fork():
            os.write(writer, str(daemon).encode())
            os._exit(0)
        os.chdir("/")
        time.sleep(600)
    return f"{program.pid} {os.read(reader, 20).decode()}"
"""


def test_leftovers_in_sessions_of_their_own_end_with_their_model(container: ContainerProcess) -> None:
    first, second = load(container, "leaves", LEAVES_PROCESSES), load(container, "stays", LEAVES_PROCESSES)
    of_first, of_second = (
        [process for pid in container.invoke(name).text.split() for process in family(int(pid))]
        for name in (first, second)
    )
    assert (len(of_first), len(of_second)) == (3, 3)

    assert container.unload(first).status_code == 200
    wait_for(lambda: not any(is_alive(process) for process in of_first), "the end of the first model's leftovers")
    assert all(is_alive(process) for process in of_second)
    assert container.unload(second).status_code == 200
    wait_for(lambda: not any(is_alive(process) for process in of_second), "the end of the second model's leftovers")


def family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children()]


WITHOUT_ROUNDS = """
import sys
from polyhost.container.forkserver import __main__, server
server._ROUND_S = 1e6
sys.exit(__main__.main(sys.argv[1:]))
"""


def test_orphan_is_reaped_at_once_and_not_a_round_later(tmp_path: Path) -> None:
    ours, theirs = Channel.pair()
    config = Config.from_environ({"POLYHOST_STATE_DIR": str(tmp_path), "POLYHOST_ZYGOTES": "bare"})
    collector, collectors_end = Channel.pair()
    inherited = [LogDescriptors.shared().lock, collectors_end.fileno(), theirs.fileno()]
    command = [sys.executable, "-c", WITHOUT_ROUNDS, str(tmp_path), *map(str, inherited), "", config.to_json()]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=inherited)
    for channel in (theirs, collectors_end):
        channel.close()
    os.close(inherited[0])
    ours.send(Heartbeat(1))
    (zygote,) = wait_for(psutil.Process(server.pid).children, "a zygote")
    (spare,) = wait_for(zygote.children, "a spare")

    zygote.kill()
    wait_for(lambda: not psutil.pid_exists(spare.pid), "the end of the spare")
    server.communicate()  # it ends at the end of its stdin
    ours.close()
    collector.close()
