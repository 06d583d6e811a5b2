"""SIGTERM at any time, and with parts that hang: the container ends with status 0 and leaves nothing behind."""

import io
import shutil
import signal
import socket
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from polyhost.client import RequestError
from tests.integration.test_faults import FORK_SERVER, JAVA, NATIVE, ZYGOTE, Service, alive, serving
from tests.support.container import ContainerProcess
from tests.support.models import MODELS, place
from tests.support.processes import is_alive
from tests.support.short_dir import short_directory
from tests.support.waiting import wait_for

LOG_COLLECTOR = ("polyhost.container.log_collector",)
END_S = 60.0  # the grace periods themselves: tests/container/test_stopping.py
MEMBERS = 60_000  # of an archive that takes a while


@contextmanager
def starting(folder: Path, front: str, **environ: str) -> Iterator[Service]:
    """Start a container without waiting; afterwards, stop it and check that nothing is left of it."""
    with short_directory() as parent:
        environ = {"POLYHOST_ZYGOTES": "bare", "POLYHOST_RUN_DIR": str(parent), **environ}
        container = ContainerProcess(folder / "ml", folder / "container.log", front, **environ)
        try:
            yield Service(container, parent)
        finally:
            container.stop()
        assert not list(parent.iterdir())


def stop_and_check(service: Service, signals: int = 1) -> None:
    """Send SIGTERM, and check that the container ends with all its processes."""
    left = alive(service.container)
    for _ in range(signals):
        service.container.process.send_signal(signal.SIGTERM)
    assert service.container.process.wait(END_S) == 0
    wait_for(lambda: not any(map(is_alive, left)), "the end of all processes")  # killed is not yet gone
    assert list(service.parent.iterdir()) == []


# While it starts


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf"], ids=["none", "half"])
def test_while_code_is_fetched(tmp_path: Path, front: str, answer: bytes) -> None:
    pytest.importorskip("boto3")
    with socket.create_server(("127.0.0.1", 0)) as s3:
        s3.settimeout(END_S)
        environ = {
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{s3.getsockname()[1]}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "SAGEMAKER_SUBMIT_DIRECTORY": "s3://code/sourcedir.tar.gz",
        }
        with starting(tmp_path, front, **environ) as service:
            connection, _ = s3.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(answer)
                stop_and_check(service, signals=2)


def test_while_code_is_unpacked(tmp_path: Path, front: str) -> None:
    archive = tmp_path / "sourcedir.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for number in range(MEMBERS):
            tar.addfile(tarfile.TarInfo(f"{number}.py"), io.BytesIO())
    with starting(tmp_path, front, SAGEMAKER_SUBMIT_DIRECTORY=str(archive)) as service:
        (extractor,) = wait_for(lambda: service.container.processes(), "the process that unpacks")
        wait_for(lambda: _files(service.parent) > 10, "its first files")
        extractor.suspend()  # or it might be done when the signal comes
        assert _files(service.parent) < MEMBERS
        stop_and_check(service)
        assert not is_alive(extractor)


def _files(parent: Path) -> int:
    return sum(1 for _ in parent.glob("*/submitted-code/*"))


def test_while_a_zygote_imports(tmp_path: Path, front: str) -> None:
    started = tmp_path / "started"
    (tmp_path / "takes_long.py").write_text(f"import time\nopen({str(started)!r}, 'w').close()\ntime.sleep(1000)\n")
    with starting(tmp_path, front, PYTHONPATH=str(tmp_path), POLYHOST_PRELOAD="takes_long") as service:
        wait_for(started.exists, "the import")
        stop_and_check(service)


# While models load and are in use


def test_while_a_model_loads(tmp_path: Path, front: str) -> None:
    with starting(tmp_path, front, POLYHOST_FINISH_SECONDS="1") as service, ThreadPoolExecutor(1) as pool:
        service.container.wait_until_up()
        name = place("waits_for_a_file", service.container.models_dir)
        load = pool.submit(_load, service, name)
        service.container.wait_for_mark(name, "waits-for-load")
        stop_and_check(service, signals=2)
        if service.container.native:
            assert load.result() == (503, "StoppingError")
        else:
            assert load.result()[0] != 200


def _load(service: Service, name: str) -> tuple[int, str]:
    """Return the answer's status and type; 0 without an answer."""
    try:
        response = service.container.load(name)
    except RequestError as error:
        return 0, str(error)
    return response.status_code, response.json()["type"]


def test_while_the_only_model_loads(tmp_path: Path, front: str) -> None:
    folder = tmp_path / "ml" / "model"
    shutil.copytree(MODELS / "waits_for_a_file", folder)
    environ = {"SAGEMAKER_MULTI_MODEL": "", "SAGEMAKER_MODEL_SERVER_WORKERS": "1", "POLYHOST_FINISH_SECONDS": "1"}
    with starting(tmp_path, front, **environ) as service:
        wait_for((folder / "waits-for-load").exists, "the load")
        stop_and_check(service)
        # Multi Model Server's toolkit logs errors of its own.
        messages = [event["message"] for event in service.container.events(level="ERROR")]
        assert not [message for message in messages if "only model" in message]


@pytest.mark.parametrize(
    ("part", "busy"),
    [
        ("zygote", False),
        ("fork server", False),
        ("fork server", True),
        ("front end", False),
        ("log collector", False),
        ("worker", True),
    ],
)
def test_with_a_part_that_is_stopped(tmp_path: Path, front: str, part: str, busy: bool) -> None:
    with starting(tmp_path, front, POLYHOST_FINISH_SECONDS="1") as service, ThreadPoolExecutor(1) as pool:
        service.container.wait_until_up()
        name = place("waits_for_a_file", service.container.models_dir)
        service.container.mark(name, "load")
        service.container.loaded(name)
        stopped = _part(service, part, name)
        if busy:
            pool.submit(_invoke, service, name)
            service.container.wait_for_mark(name, "waits-for-answer")
        stopped.suspend()
        stop_and_check(service)
        assert not is_alive(stopped)


def _part(service: Service, part: str, name: str) -> psutil.Process:
    front = NATIVE if service.container.native else JAVA
    words = {"zygote": ZYGOTE, "fork server": FORK_SERVER, "front end": front, "log collector": LOG_COLLECTOR}
    return service.worker(name) if part == "worker" else service.part(*words[part])


def _invoke(service: Service, name: str) -> None:
    with suppress(RequestError):
        service.container.invoke(name, "wait")


# Without an end: a part that is stopped is replaced

FEW_ROUNDS = """
import sys
from functools import partial

if sys.orig_argv[1:3] == ["-m", "polyhost.container.forkserver"]:
    from polyhost.container.forkserver.zygote import restarts
    restarts.RestartDelays = partial(restarts.RestartDelays, silent_rounds=8)
"""


def test_zygote_that_is_stopped_is_replaced_and_other_models_go_on(tmp_path: Path, front: str) -> None:
    """Its limit is 4 s here, for a test; a container's is 30 s."""
    (tmp_path / "sitecustomize.py").write_text(FEW_ROUNDS)
    with serving(tmp_path, front, PYTHONPATH=str(tmp_path)) as service:
        name = service.load("echo")
        worker = service.worker(name)
        service.container.wait_for_event("zygote bare is ready")  # while it prepares itself the limit is longer
        hung = service.part(*ZYGOTE)
        hung.suspend()
        with ThreadPoolExecutor(1) as pool:
            load = pool.submit(service.load, "echo")
            while not load.done():
                assert service.container.invoke(name, "1").text == "1"
            assert service.container.invoke(load.result(), "1").text == "1"
        service.container.wait_for_event("zygote bare does not answer: killing it")
        assert not is_alive(hung)
        assert service.worker(name) == worker
        wait_for(lambda: service.part(*ZYGOTE) != hung, "another zygote")
