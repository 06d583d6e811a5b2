"""A real container on this machine: the image's entry point as a process, a real front end and real workers."""

import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from polyhost.client import PolyhostClient
from polyhost.processes import ServerProcess, free_port
from tests.support.processes import is_alive, query
from tests.support.waiting import wait_for

ROOT = Path(__file__).parent.parent.parent
ENTRY_POINT = ROOT / "container" / "image" / "dockerd-entrypoint.py"
LAUNCHER = "sleep"  # what a launcher of MMS's becomes
# With PYTHONPATH another Multi Model Server than this environment's can be put first.
INHERITED = ("PATH", "PYTHONPATH", "HOME", "JAVA_HOME", "LANG", "COVERAGE_PROCESS_CONFIG")
_TIMEOUT_S = 90.0


class ContainerProcess:
    """A container, a client of its API, and its log.

    `base_dir` stands for /opt/ml; the test fills its models folder. `front` is the front end, "mms" or "native".
    `entry_point`: Python's arguments, for a container that a test has changed.
    """

    def __init__(
        self,
        base_dir: Path,
        log_file: Path,
        front: str = "mms",
        *,
        entry_point: Sequence[str | Path] = (ENTRY_POINT,),
        **environ: str,
    ) -> None:
        self.native = front == "native"
        self.port = int(environ.get("SAGEMAKER_BIND_TO_PORT") or free_port())
        self.base_dir = base_dir
        self.models_dir = base_dir / "models"
        self.models_dir.mkdir(parents=True, exist_ok=True)
        self.log_file = log_file
        settings = {
            "SAGEMAKER_MULTI_MODEL": "true",
            "SAGEMAKER_BASE_DIR": str(base_dir),
            "SAGEMAKER_BIND_TO_PORT": str(self.port),
            "POLYHOST_FRONTEND": front,
            **environ,
        }
        if "COVERAGE_PROCESS_CONFIG" in os.environ:  # the workers write their coverage there (scripts/test --coverage)
            settings = {"POLYHOST_SHARED_FOLDERS": str(ROOT / "build" / "coverage"), **settings}
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        command: list[str | Path] = [sys.executable, *entry_point, "serve"]
        self._server = ServerProcess(command, log_file, environ={**inherited, **settings}, cwd=ROOT)
        self.process = self._server.popen
        url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=url, timeout=_TIMEOUT_S, trust_env=False)
        self.client = PolyhostClient(url, timeout=_TIMEOUT_S, raise_for_status=False)

    # Its life

    def wait_until_up(self) -> "ContainerProcess":
        """Wait until /ping is answered with 200."""
        self._server.wait_until(self.client.ping)
        return self

    def stop(self) -> int:
        """Send SIGTERM, as docker stop and SageMaker do, and return the exit status."""
        status = self._server.stop()
        self.http.close()
        self.client.close()
        return status

    def kill(self) -> None:
        """End it as a machine that fails does: what answers clients first, so that nothing ends in order."""
        for process in self.processes():
            if any(used.status == psutil.CONN_LISTEN for used in query(process.net_connections) or ()):
                process.kill()
        self._server.kill()
        self.http.close()
        self.client.close()

    def processes(self) -> list[psutil.Process]:
        """Return every process below the entry point, the entry point not included."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def processes_of(self, name: str) -> list[psutil.Process]:
        """Return a model's launcher and workers, and what they have started: all of them work in its folder."""
        return self.processes_in(self.folder(name))

    def processes_in(self, folder: Path) -> list[psutil.Process]:
        """Return the processes that work in this folder; one that has ended and is not reaped yet works nowhere."""
        return [process for process in self.processes() if query(process.cwd) == str(folder)]

    def workers_of(self, name: str) -> list[psutil.Process]:
        """Return a model's workers."""
        return self.workers_in(self.folder(name))

    def workers_in(self, folder: Path) -> list[psutil.Process]:
        """Return the workers of the model in this folder."""
        return [process for process in self.processes_in(folder) if query(process.name) != LAUNCHER]

    def launchers_of(self, name: str) -> list[psutil.Process]:
        """Return a model's launchers, which only Multi Model Server has."""
        return [process for process in self.processes_of(name) if query(process.name) == LAUNCHER]

    def process_of(self, *words: str) -> psutil.Process:
        """Return the one process whose command line has all these words.

        Waits until there is one: a fork has its parent's command line until it executes its own.
        """

        def found() -> list[psutil.Process]:
            commands = [(process, query(process.cmdline) or []) for process in self.processes()]
            matching = [process for process, command in commands if all(word in command for word in words)]
            return matching if len(matching) == 1 else []

        (process,) = wait_for(found, f"one process with {words}")
        return cast("psutil.Process", process)

    def refuses_connections(self) -> bool:
        """Return whether its port has been closed."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:  # it was in the backlog when the socket was closed
            return False
        return False

    # A model's folder

    def folder(self, name: str) -> Path:
        """Return the model directory, where SageMaker unpacks the archive."""
        return self.models_dir / name / "model"

    def mark(self, name: str, file: str) -> None:
        """Let a model of kind `waits_for_a_file` go on."""
        (self.folder(name) / file).touch()

    def wait_for_mark(self, name: str, file: str) -> None:
        """Wait until a model of kind `waits_for_a_file` has made this file."""
        wait_for((self.folder(name) / file).exists, f"the model's {file}")

    # Its API

    def load(self, name: str, url: str | None = None, **parameters: Any) -> httpx.Response:
        """Load a model, by default from its folder below models/."""
        return self.client.load(name, url or str(self.folder(name)), **parameters)

    def loaded(self, name: str, url: str | None = None) -> str:
        """Load a model, check that this succeeds, and return its name."""
        response = self.load(name, url)
        assert response.status_code == 200, f"{response.text}\n{self.log_text()[-4000:]}"
        return name

    def unload(self, name: str) -> httpx.Response:
        """Unload a model."""
        return self.client.unload(name)

    def invoke(
        self, name: str, body: bytes | str = b"{}", content_type: str = "application/json", **headers: str
    ) -> httpx.Response:
        """Invoke a model. Other keyword arguments are headers: accept="text/csv"."""
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        return self.client.invoke(name, body, content_type, headers=sent)

    def names(self) -> list[str]:
        """Return the names of the loaded models, from the first list page.

        MMS answers 500 if one is unloaded while it writes the page (ManagementRequestHandler.java looks each up again).
        """

        def page() -> dict[str, Any] | None:
            answer: dict[str, Any] = self.http.get("/models").json()
            return answer if "models" in answer or self.native else None

        answer: dict[str, Any] = wait_for(page, "a list of the models")
        return [model["modelName"] for model in answer["models"]]

    def metric(self, name: str, **labels: str) -> float | None:
        """Return the value of a metric of the native front end, or None if it has none with these labels."""
        for family in text_string_to_metric_families(self.http.get("/metrics").text):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return None

    def wait_until_queued(self, name: str, count: int) -> None:
        """Wait until `count` requests are in the model's queue. MMS does not report that, so it gets some time."""
        if self.native:
            wait_for(lambda: self.metric("polyhost_waiting", model=name) == count, f"{count} requests in the queue")
        else:
            time.sleep(1)

    # Its log

    def log_text(self) -> str:
        """Return the whole log."""
        return self.log_file.read_text(errors="replace")

    def events(self, **fields: Any) -> list[dict[str, Any]]:
        """Return the events that have these fields."""
        # Not splitlines(), which also splits at U+2028 and others that an event may hold.
        parsed = [json.loads(line) for line in self.log_text().split("\n") if line]
        return [event for event in parsed if all(event.get(name) == value for name, value in fields.items())]

    def wait_for_event(self, text: str, **fields: Any) -> dict[str, Any]:
        """Return the first event whose message contains the text."""

        def find() -> dict[str, Any] | None:
            return next((event for event in self.events(**fields) if text in event["message"]), None)

        found: dict[str, Any] = wait_for(find, f"an event with {text!r} in the log")
        return found


@contextmanager
def running(
    folder: Path, front: str = "mms", *, entry_point: Sequence[str | Path] = (ENTRY_POINT,), **environ: str
) -> Iterator[ContainerProcess]:
    """Run a container while the block runs, then check that it has left no process behind."""
    container = ContainerProcess(folder / "ml", folder / "container.log", front, entry_point=entry_point, **environ)
    try:
        yield container.wait_until_up()
    finally:
        descendants = container.processes() if container.process.poll() is None else []
        container.stop()
        left = [process for process in descendants if is_alive(process)]
        assert not left, f"left behind: {left}"
