"""A real container, run natively: the entry point as a process, real MMS, real workers; and a client for its API."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

T = TypeVar("T")

ROOT = Path(__file__).parent.parent
ENTRY_POINT = ROOT / "container" / "image" / "dockerd-entrypoint.py"
LAUNCHER = "sleep"  # what a launcher of MMS's becomes


def free_port() -> int:
    """Below 32767, for MMS takes none above (Connector.java)."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1]) % 20000 + 10000
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 30.0) -> Any:
    """Polls with a deadline; for conditions that nothing announces."""
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(0.02)
    return result


class ContainerProcess:
    """`base_dir` is /opt/ml; its models folder is filled by the test. `front`: the front end, "mms" or "native"."""

    def __init__(self, base_dir: Path, log_file: Path, front: str = "mms", **environ: str) -> None:
        self.native = front == "native"
        self.port = free_port()
        self.base_dir = base_dir
        self.models_dir = base_dir / "models"
        self.models_dir.mkdir(parents=True, exist_ok=True)
        self.log_file = log_file
        self._run_dir = log_file.parent
        settings = {
            "SAGEMAKER_MULTI_MODEL": "true",
            "SAGEMAKER_BASE_DIR": str(base_dir),
            "SAGEMAKER_BIND_TO_PORT": str(self.port),
            "POLYHOST_FRONTEND": front,
            **environ,
        }
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "JAVA_HOME", "LANG") if name in os.environ}
        with log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(ENTRY_POINT), "serve"],
                env={**inherited, **settings},
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
            )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=90)

    # Its life

    def wait_until_up(self) -> "ContainerProcess":
        wait_for(self._answers_ping, f"an answer to /ping; log:\n{self.log_text()[-4000:]}", 60)
        return self

    def _answers_ping(self) -> bool:
        assert self.process.poll() is None, f"the container ended:\n{self.log_text()}"
        try:
            return self.http.get("/ping", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> int:
        """SIGTERM, as docker stop and SageMaker do; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(30)
        self.http.close()
        return status

    def processes(self) -> list[psutil.Process]:
        """Every process below the entry point, the entry point not included."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def processes_of(self, name: str) -> list[psutil.Process]:
        """A model's launcher and workers, and what they have started: all of them work in its folder."""
        return self.processes_in(self.folder(name))

    def processes_in(self, folder: Path) -> list[psutil.Process]:
        """Without those that have ended and are not reaped yet: they work nowhere."""
        return [process for process in self.processes() if asked(process.cwd) == str(folder)]

    def workers_of(self, name: str) -> list[psutil.Process]:
        return self.workers_in(self.folder(name))

    def workers_in(self, folder: Path) -> list[psutil.Process]:
        return [process for process in self.processes_in(folder) if asked(process.name) != LAUNCHER]

    def launchers_of(self, name: str) -> list[psutil.Process]:
        return [process for process in self.processes_of(name) if asked(process.name) == LAUNCHER]

    def process_of(self, *words: str) -> psutil.Process:
        """The one process whose command line has all these words."""
        commands = [(process, asked(process.cmdline) or []) for process in self.processes()]
        found = [process for process, command in commands if all(word in command for word in words)]
        assert len(found) == 1, f"{words}: {[process.cmdline() for process in self.processes()]}"
        return found[0]

    # A model's folder

    def folder(self, name: str) -> Path:
        """Where the platform has unpacked the model."""
        return self.models_dir / name / "model"

    def mark(self, name: str, file: str) -> None:
        """Lets a model of kind `waits_for_a_file` go on."""
        (self.folder(name) / file).touch()

    def wait_for_mark(self, name: str, file: str) -> None:
        wait_for((self.folder(name) / file).exists, f"the model's {file}")

    # Its API (contract 2.1)

    def load(self, name: str, url: str | None = None, **more: Any) -> httpx.Response:
        body = {"model_name": name, "url": url or str(self.models_dir / name / "model"), **more}
        return self.http.post("/models", json=body)

    def loaded(self, name: str, url: str | None = None) -> str:
        response = self.load(name, url)
        assert response.status_code == 200, f"{response.text}\n{self.log_text()[-4000:]}"
        return name

    def unload(self, name: str) -> httpx.Response:
        return self.http.delete(f"/models/{name}")

    def invoke(self, name: str, body: bytes | str = b"{}", **headers: str) -> httpx.Response:
        """Keyword arguments are headers: content_type="text/csv"."""
        sent = {"content-type": "application/json", **{key.replace("_", "-"): value for key, value in headers.items()}}
        return self.http.post(f"/models/{name}/invoke", content=body, headers=sent)

    def names(self) -> list[str]:
        return [model["modelName"] for model in self.http.get("/models").json()["models"]]

    def metric(self, name: str, **labels: str) -> float | None:
        """A figure of the native front end's /metrics."""
        for family in text_string_to_metric_families(self.http.get("/metrics").text):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return None

    def wait_until_waiting(self, name: str, calls: int) -> None:
        """So many calls stand in the model's queue. Nothing tells that of MMS from outside: time has to do."""
        if self.native:
            wait_for(lambda: self.metric("polyhost_waiting", model=name) == calls, f"{calls} calls in the queue")
        else:
            time.sleep(0.2)

    # Its log

    def log_text(self) -> str:
        return self.log_file.read_text(errors="replace")

    def events(self, **fields: Any) -> list[dict[str, Any]]:
        """The events with these fields."""
        parsed = [json.loads(line) for line in self.log_text().splitlines()]
        return [event for event in parsed if all(event.get(name) == value for name, value in fields.items())]

    def wait_for_event(self, text: str, **fields: Any) -> dict[str, Any]:
        """The first event whose message contains the text."""

        def find() -> dict[str, Any] | None:
            return next((event for event in self.events(**fields) if text in event["message"]), None)

        found: dict[str, Any] = wait_for(find, f"an event with {text!r} in the log")
        return found


def asked(question: Callable[[], T]) -> T | None:
    """What a process says of itself; None where it has ended meanwhile."""
    try:
        return question()
    except psutil.Error:
        return None


@contextmanager
def running(folder: Path, front: str = "mms", **environ: str) -> Iterator[ContainerProcess]:
    """A container of the test's own; ended, and looked after, at the end of the block."""
    container = ContainerProcess(folder / "ml", folder / "container.log", front, **environ)
    try:
        yield container.wait_until_up()
    finally:
        left = [container.process, *container.processes()] if container.process.poll() is None else []
        container.stop()
        alive = [process for process in left[1:] if isinstance(process, psutil.Process) and process.is_running()]
        assert not alive, f"left behind: {alive}"
