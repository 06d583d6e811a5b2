"""SIGKILL for each process under load: what clients get, that the container recovers, and that nothing is left."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.container import ENTRY_POINT, ROOT, ContainerProcess, running
from tests.support.models import place
from tests.support.processes import is_alive, query
from tests.support.short_dir import short_directory
from tests.support.waiting import wait_for

RECOVERY_S = 40.0


@dataclass
class Service:
    """A container, and the folder that holds its run folder."""

    container: ContainerProcess
    parent: Path

    @property
    def run_dir(self) -> Path:
        (run_dir,) = self.parent.iterdir()
        return run_dir

    def load(self, kind: str) -> str:
        return self.container.loaded(place(kind, self.container.models_dir))

    def worker(self, name: str) -> psutil.Process:
        (worker,) = self.container.workers_of(name)
        return worker

    def launcher(self, name: str) -> psutil.Process:
        (launcher,) = self.container.launchers_of(name)
        return launcher

    def part(self, *words: str) -> psutil.Process:
        """Return the oldest process whose command line has these words; workers have that of their zygote."""
        return min(self.parts(*words), key=psutil.Process.create_time)

    def parts(self, *words: str) -> list[psutil.Process]:
        found = [(process, query(process.cmdline) or []) for process in alive(self.container)]
        return [process for process, command in found if all(word in command for word in words)]

    def files(self) -> set[str]:
        """Return the models' files: sockets, records, temp folders, output files."""
        folders = [self.run_dir / "tmp", self.run_dir / "launches"]
        return {str(path) for folder in folders for path in folder.iterdir() if path.name != ".model_server.pid"}


def alive(container: ContainerProcess) -> list[psutil.Process]:
    return [process for process in container.processes() if is_alive(process)]


ZYGOTE = ("polyhost.container.forkserver.zygote", "bare")
FORK_SERVER = ("polyhost.container.forkserver",)
TOOLKIT = ("polyhost.container.mms",)
NATIVE = ("polyhost.container.native",)
JAVA = ("com.amazonaws.ml.mms.ModelServer",)


@contextmanager
def serving(
    folder: Path, front: str, *, entry_point: Sequence[str | Path] = (ENTRY_POINT,), **environ: str
) -> Iterator[Service]:
    environ = {"POLYHOST_ZYGOTES": "bare", **environ}
    with short_directory() as parent:
        with running(folder, front, entry_point=entry_point, POLYHOST_RUN_DIR=str(parent), **environ) as container:
            yield Service(container, parent)
        assert not list(parent.iterdir())


@pytest.fixture(scope="module")
def shared_service(front: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("faults"), front) as service:
        yield service


@pytest.fixture
def service(shared_service: Service) -> Iterator[Service]:
    """Return the shared container; check afterwards that loads work and that unloads leave nothing."""
    yield shared_service
    for name in [*shared_service.container.names(), shared_service.load("echo")]:
        assert shared_service.container.unload(name).status_code == 200
        processes_of_model = partial(shared_service.container.processes_of, name)
        wait_for(partial(_is_empty, processes_of_model), "the end of the model's processes")
    # A new fork server leaves the old one's files for some seconds: MMS may be about to open them.
    wait_for(lambda: not shared_service.files(), f"an empty run folder, not {shared_service.files()}", RECOVERY_S)


def _is_empty(items: Callable[[], list[psutil.Process]]) -> bool:
    return not items()


@dataclass
class Client:
    """Invokes one model repeatedly until it is stopped, and keeps the statuses."""

    container: ContainerProcess
    name: str
    statuses: list[int] = field(default_factory=list)
    slowest_s: float = 0.0
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        for _ in range(5000):
            if self.stopping.is_set():
                return
            start = time.monotonic()
            self.statuses.append(self.container.invoke(self.name, "1").status_code)
            self.slowest_s = max(self.slowest_s, time.monotonic() - start)
            self.stopping.wait(0.005)

    def wait_for_more(self, count: int = 10) -> None:
        goal = len(self.statuses) + count
        wait_for(lambda: len(self.statuses) >= goal, f"{count} more answers", RECOVERY_S)

    def failures(self) -> list[int]:
        return [status for status in self.statuses if status != 200]


@contextmanager
def invoking(service: Service, name: str) -> Iterator[Client]:
    client = Client(service.container, name)
    with ThreadPoolExecutor(1) as pool:
        running_client = pool.submit(client.run)
        try:
            client.wait_for_more()
            yield client
            client.wait_for_more()
        finally:
            client.stopping.set()
        running_client.result()


def kill(process: psutil.Process) -> None:
    """Kill a process and wait for its end; its parent may not have reaped it yet."""
    process.kill()
    wait_for(lambda: query(process.status) in (None, psutil.STATUS_ZOMBIE), f"the end of {process.pid}")


# Workers


def test_death_of_an_idle_worker(service: Service) -> None:
    name = service.load("echo")

    kill(service.worker(name))

    assert service.container.invoke(name, "1").status_code == 200
    assert len(service.container.workers_of(name)) == 1


def test_death_of_a_worker_under_load(service: Service) -> None:
    name, other = service.load("echo"), service.load("echo")

    with invoking(service, name) as client, invoking(service, other) as unaffected:
        for _ in range(2):
            kill(service.worker(name))
            client.wait_for_more()

    assert set(client.failures()) <= {500}
    assert len(client.failures()) <= 2
    assert client.slowest_s < RECOVERY_S
    assert not unaffected.failures()


def test_death_of_a_busy_worker(service: Service) -> None:
    name = place("waits_for_a_file", service.container.models_dir)
    service.container.mark(name, "load")
    service.container.loaded(name)
    with ThreadPoolExecutor(1) as pool:
        response = pool.submit(service.container.invoke, name, "wait")
        service.container.wait_for_mark(name, "waits-for-answer")
        kill(service.worker(name))

        assert error_of(response.result()) == (500, "WorkerDiedError")

    assert service.container.invoke(name, "1").status_code == 200


def error_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["type"]


# The processes behind them


def test_death_of_the_zygote(service: Service) -> None:
    name = service.load("echo")

    with invoking(service, name) as client:
        kill(service.part(*ZYGOTE))
        loaded = service.load("echo")
        assert service.container.invoke(loaded, "1").status_code == 200
        assert not client.failures()
        # Workers of the dead zygote are still supervised.
        kill(service.worker(name))
        client.wait_for_more()

    assert len(client.failures()) <= 1


def test_death_of_the_zygote_while_a_worker_loads(service: Service) -> None:
    container = service.container
    name = place("waits_for_a_file", container.models_dir)
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(container.load, name)
        service.container.wait_for_mark(name, "waits-for-load")
        kill(service.part(*ZYGOTE))
        service.container.mark(name, "load")

        assert load.result().status_code == 200

    assert container.invoke(name, "1").text == "1"


def test_death_of_the_fork_server(service: Service) -> None:
    name = service.load("echo")

    with invoking(service, name) as client:
        kill(service.part(*FORK_SERVER))
        loaded = service.load("echo")
        assert service.container.invoke(loaded, "1").status_code == 200

    assert not client.failures()
    assert len(service.parts(*FORK_SERVER)) == 1


SHORT_SILENCE = """
import sys
from functools import partial
from polyhost.container import supervisor
supervisor.Supervisor = partial(supervisor.Supervisor, silence_s=6.0)
from polyhost.container.main import main
sys.exit(main(sys.argv[1:]))
"""
HANGS_ON_SIGNAL = """
import signal
import sys

def hang(number, frame):
    while True:
        pass

if sys.orig_argv[1:3] == ["-m", "polyhost.container.forkserver"]:
    signal.signal(signal.SIGUSR1, hang)
"""


@pytest.fixture(scope="module")
def impatient_service(front: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Start a container that takes a fork server for hung after 6 s."""
    folder = tmp_path_factory.mktemp("hangs")
    (folder / "sitecustomize.py").write_text(HANGS_ON_SIGNAL)
    with serving(folder, front, entry_point=("-c", SHORT_SILENCE), PYTHONPATH=str(folder)) as service:
        yield service


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGUSR1], ids=["stopped", "in an endless loop"])
def test_fork_server_that_hangs_is_replaced(impatient_service: Service, number: signal.Signals) -> None:
    service = impatient_service
    name = service.load("echo")
    hung = service.part(*FORK_SERVER)

    with invoking(service, name) as client:
        hung.send_signal(number)
        loaded = service.load("echo")
        assert service.container.invoke(loaded, "1").status_code == 200

    assert not client.failures()
    assert not is_alive(hung)
    assert len(service.parts(*FORK_SERVER)) == 1
    service.container.wait_for_event("the fork server has not responded for 6 s; killing it")


def test_container_that_was_suspended_keeps_its_fork_server(impatient_service: Service) -> None:
    service = impatient_service
    fork_server = service.part(*FORK_SERVER)
    suspended = [psutil.Process(service.container.process.pid), *alive(service.container)]
    for process in suspended:
        process.suspend()
    time.sleep(9)
    for process in reversed(suspended):
        process.resume()

    assert service.container.invoke(service.load("echo"), "1").status_code == 200
    assert is_alive(fork_server)


def test_death_of_a_survivor(service: Service) -> None:
    """A survivor is a worker that outlived its fork server.

    Behind MMS the new fork server has no copy of its connection: MMS notices the end itself, and reconnects. The native
    front end passes the new one a copy.
    """
    name = service.load("echo")
    kill(service.part(*FORK_SERVER))
    service.load("echo")

    kill(service.worker(name))

    wait_for(lambda: _status(service, name) == 200, "a response of a new worker", RECOVERY_S)
    assert len(service.container.workers_of(name)) == 1


def test_survivor_has_a_deadline(tmp_path: Path, front: str) -> None:
    with serving(tmp_path, front, SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS="2") as service:
        name = service.load("never_responds")
        kill(service.part(*FORK_SERVER))
        service.load("echo")  # by the new fork server

        response = service.container.invoke(name, "wait")

        # Behind MMS no other process has the connection that a 504 would be sent on.
        assert response.status_code == (504 if front == "native" else 500)
        wait_for(lambda: _status(service, name) == 200, "a response of a new worker", RECOVERY_S)


def test_busy_survivor_ends_with_its_model(service: Service) -> None:
    name = service.load("loops_forever")
    worker = service.worker(name)
    fork_server = service.part(*FORK_SERVER)
    fork_server.kill()
    wait_for(lambda: any(part != fork_server for part in service.parts(*FORK_SERVER)), "another fork server")
    service.load("echo")
    with ThreadPoolExecutor(1) as pool:
        pool.submit(_invoke_briefly, service, name, "loop")
        wait_for(lambda: worker.cpu_times().user > 0.5, "the loop")

        assert service.container.unload(name).status_code == 200
        wait_for(lambda: not service.container.workers_of(name), "the worker's end")


def test_death_of_the_fork_server_while_a_worker_loads(service: Service) -> None:
    container = service.container
    name = place("waits_for_a_file", container.models_dir)
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(container.load, name)
        service.container.wait_for_mark(name, "waits-for-load")
        kill(service.part(*FORK_SERVER))
        service.container.mark(name, "load")

        assert load.result().status_code == 200

    assert container.invoke(name, "1").text == "1"


def _status(service: Service, name: str) -> int | None:
    try:
        return service.container.http.post(f"/models/{name}/invoke", content="1", timeout=2).status_code
    except httpx.ReadTimeout:
        return None


def _skip_without_launchers(service: Service) -> None:
    if service.container.native:
        pytest.skip("there are no launchers behind the native front end")


def test_launcher_that_mms_has_lost(service: Service) -> None:
    """An unload that fails half-way in MMS leaves one: started, connected to, disconnected, never ended."""
    _skip_without_launchers(service)
    name = place("echo", service.container.models_dir)
    path = service.run_dir / "tmp" / ".mms.sock.lost"
    options = {
        "--sock-type": "unix",
        "--sock-name": str(path),
        "--handler": "polyhost.handlers.service:handle",
        "--model-path": str(service.container.folder(name)),
        "--model-name": name,
        "--preload-model": "false",
        "--tmp-dir": str(service.run_dir / "tmp"),
    }
    command = [str(ROOT / "container/mms/resources/launcher"), "mms/model_service_worker.py", *chain(*options.items())]
    environ = {"PATH": os.environ["PATH"], "POLYHOST_RUN_DIR": str(service.run_dir)}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, cwd=service.container.folder(name)) as launcher:
        assert launcher.stdout is not None
        assert launcher.stdout.readline() == b"MMS worker started.\n"
        with socket.socket(socket.AF_UNIX) as mms:
            mms.connect(str(path))

        assert launcher.wait(60) == -signal.SIGKILL


def test_death_of_a_launcher(service: Service) -> None:
    _skip_without_launchers(service)
    name = service.load("echo")

    with invoking(service, name) as client:
        kill(service.launcher(name))

    assert not client.failures()
    kill(service.worker(name))
    wait_for(lambda: _status(service, name) == 200, "a response of a new worker", RECOVERY_S)


def test_death_of_a_launcher_while_its_model_loads(service: Service) -> None:
    _skip_without_launchers(service)
    container = service.container
    name = place("waits_for_a_file", container.models_dir)
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(container.load, name)
        service.container.wait_for_mark(name, "waits-for-load")
        kill(service.launcher(name))
        service.container.mark(name, "load")

        assert load.result().status_code == 200

    assert container.invoke(name, "1").text == "1"


def test_mms_that_can_start_no_thread_answers_pings(tmp_path: Path) -> None:
    """Java gets no memory for the stack of a thread: root has no limit of processes, but it ends in the same way."""
    with serving(tmp_path, "mms", MMS_NUMBER_OF_NETTY_THREADS="12") as service:
        java = service.part(*JAVA)
        # Netty has one more thread, which accepts connections.
        wait_for(lambda: len(_netty_threads(java)) >= 13, "Netty's threads")
        service.container.http.get("/ping")  # for which MMS keeps a thread of another kind
        size = java.memory_info().vms
        java.rlimit(psutil.RLIMIT_AS, (size, size))

        statuses = [httpx.get(f"{service.container.http.base_url}/ping", timeout=60).status_code for _ in range(24)]

    assert statuses == [200] * 24


def _netty_threads(java: psutil.Process) -> list[str]:
    names = [Path(f"/proc/{java.pid}/task/{thread.id}/comm").read_text() for thread in java.threads()]
    return [name for name in names if "EventLoop" in name]


# One model and its neighbours


def test_endless_loop_does_not_affect_other_models(service: Service) -> None:
    looping, other = service.load("loops_forever"), service.load("echo")
    worker = service.worker(looping)  # now: a busy model gets a second one
    with ThreadPoolExecutor(1) as pool:
        looping_request = pool.submit(_invoke_briefly, service, looping, "loop")
        wait_for(lambda: worker.cpu_percent(0.1) > 20, "a busy worker")

        with invoking(service, other) as client:
            client.wait_for_more(50)

        assert not client.failures()
        assert client.slowest_s < RECOVERY_S
        assert service.container.unload(looping).status_code == 200
        wait_for(lambda: not service.container.processes_of(looping), "the end of the loop")
        looping_request.result()


def _invoke_briefly(service: Service, name: str, body: str) -> None:
    with httpx.Client(base_url=service.container.http.base_url, timeout=3) as http:
        try:
            http.post(f"/models/{name}/invoke", content=body)
        except httpx.ReadTimeout:
            pass  # MMS never responds to requests of a model that it unloads


def test_crashes_do_not_affect_other_models(service: Service) -> None:
    crashing, other = service.load("segfaults_in_predict"), service.load("echo")
    worker = service.worker(other).pid

    with invoking(service, other) as client:
        statuses = [service.container.invoke(crashing, "die").status_code for _ in range(4)]

    assert statuses == [500, 500, 500, 503]
    assert not client.failures()
    assert service.worker(other).pid == worker


def test_unload_ends_the_models_leftovers(service: Service) -> None:
    name = service.load("starts_a_process")
    started = psutil.Process(int(service.container.invoke(name).text))

    assert service.container.unload(name).status_code == 200

    wait_for(lambda: not started.is_running(), "the end of the model's own process")


# The end of the container


@pytest.mark.parametrize(
    ("front_end", "part", "name"),
    [
        ("mms", JAVA, "Multi Model Server"),
        ("mms", TOOLKIT, "Multi Model Server"),
        ("native", NATIVE, "the native front end"),
    ],
)
def test_death_of_the_front_end_ends_the_container(
    tmp_path: Path, front_end: str, part: tuple[str, ...], name: str
) -> None:
    with serving(tmp_path, front_end) as service:
        service.load("echo")
        left = alive(service.container)

        kill(service.part(*part))

        assert service.container.process.wait(60) == 1
        assert service.container.wait_for_event(f"{name} has ended")["level"] == "ERROR"
        assert not [process for process in left if process.is_running()]


def test_sigterm_with_models_and_a_busy_request(tmp_path: Path, front: str) -> None:
    """The container ends, even with a request that never does."""
    with serving(tmp_path, front) as service, ThreadPoolExecutor(1) as pool:
        service.load("echo")
        name = service.load("loops_forever")
        worker = service.worker(name)  # now: a busy model gets a second one
        pool.submit(_invoke_until_cut_off, service, name)
        wait_for(lambda: worker.cpu_percent(0.1) > 20, "a busy worker")
        left = alive(service.container)

        service.container.process.send_signal(signal.SIGTERM)

        assert service.container.process.wait(60) == 0
        assert not [process for process in left if process.is_running()]


def _invoke_until_cut_off(service: Service, name: str) -> None:
    with httpx.Client(base_url=service.container.http.base_url, timeout=20) as http:
        try:
            http.post(f"/models/{name}/invoke", content="loop")
        except httpx.TransportError:
            pass


def _running(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if is_alive(process)]


def test_sigkill_of_the_entry_point(tmp_path: Path, short_dir: Path, front: str) -> None:
    parent = short_dir
    container = ContainerProcess(
        tmp_path / "ml", tmp_path / "container.log", front, POLYHOST_ZYGOTES="bare", POLYHOST_RUN_DIR=str(parent)
    )
    service = Service(container.wait_until_up(), parent)
    service.load("echo")
    left = alive(container)

    container.process.kill()

    container.stop()
    try:
        wait_for(lambda: not _running(left), f"the end of all of {left}")
    finally:
        for process in _running(left):
            process.kill()
    wait_for(lambda: not list(parent.iterdir()), "the removal of the run folder")


def test_model_that_does_not_fit_into_memory(tmp_path: Path, front: str) -> None:
    """Every load is rejected before it starts, and leaves nothing in the run folder."""
    with serving(tmp_path, front, POLYHOST_MEMORY_RESERVE_MB="1000000") as service:
        name = place("echo", service.container.models_dir)
        for _ in range(3):
            response = service.container.load(name)
            assert response.status_code == 507
            assert ("MB are free" in response.text) == service.container.native
            wait_for(lambda: not service.container.names(), "the model unregistered")

        wait_for(lambda: not service.files(), "the removal of its files")
        assert "not enough memory" in service.container.wait_for_event("MB are free", model=name)["message"]
