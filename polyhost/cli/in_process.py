"""A model loaded and invoked in this process, by the container's code, with timings and memory.

The process is to be a child of the command's (child.py), and becomes what a worker of the container is.
"""

import contextlib
import importlib
import logging
import os
import statistics
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyhost.cli import environment
from polyhost.cli.errors import CommandError
from polyhost.cli.handler_lookup import describe_handler
from polyhost.events import LogEvent

_CONTAINER_LOGGER = "polyhost.container.worker.model"


@dataclass(frozen=True)
class LoadReport:
    """The cost of a load, apart from the import of its framework, which the container does once.

    `memory_mb` is the growth of this process, in units of 10**6 bytes.
    """

    handler: str
    framework: str | None
    import_s: float
    load_s: float
    memory_mb: float


@dataclass(frozen=True)
class PredictionReport:
    """The model's response, and how long it took: `warm_ms` is the median of the repeats, None without any."""

    status: int
    content_type: str
    body: bytes
    first_ms: float
    warm_ms: float | None


@dataclass(frozen=True)
class Trial:
    """What to load and, if there is a `body`, to send. `temp_dir`: the model's temporary folder."""

    name: str
    folder: Path
    handler: str | None
    temp_dir: Path
    show_failures: bool = False
    body: bytes | None = None
    content_type: str = ""
    accept: str | None = None
    repeat: int = 0
    layer: Path | None = None  # the packages that it asks for


# The functions import the container: `polyhost models` runs without it.


def run(trial: Trial) -> Iterator[LoadReport | PredictionReport]:
    """Load the model and yield the report; the same for the request, if there is one. Raise CommandError on failure."""
    model, report = _load(trial)
    yield report
    if trial.body is not None:
        yield _predict(model, trial, trial.body)


def _become_worker(trial: Trial) -> None:
    """Surround this process as the container surrounds a worker; the model's output goes to stderr, its log too.

    The command reports a failure in one sentence; with `show_failures` the container's event is shown too.
    """
    from polyhost.container import log
    from polyhost.container.worker import surroundings

    def show(event: LogEvent) -> None:
        ours = event.logger.startswith("polyhost.")
        hidden = event.logger == _CONTAINER_LOGGER and not trial.show_failures
        if not hidden and (event.level >= logging.WARNING or not ours):
            error = event.exception
            trace = "" if error is None else "".join(traceback.format_exception(error))
            log.write_all(2, f"{event.message}\n{trace}".encode(errors="backslashreplace"))

    log.send_to(show, logging.INFO)
    surroundings.enter(trial.name, str(trial.temp_dir), output=2)
    os.chdir(trial.folder)


def _load(trial: Trial) -> tuple[Any, LoadReport]:
    from polyhost.container.errors import LoadError
    from polyhost.container.worker.model import Model, ModelSpec

    folder, name, handler = trial.folder, trial.name, trial.handler
    description = describe_handler(folder, handler)
    framework, import_s = _import_framework(folder, handler)
    spec = ModelSpec(name, folder, default_handler=handler, layer=trial.layer)
    _become_worker(trial)
    before, start = _resident_bytes(), time.perf_counter()
    try:
        model = Model.load(spec)
    except SystemExit as error:
        raise CommandError(f"{name} does not load: its code called sys.exit({error.code!r})") from error
    except LoadError as error:
        raise CommandError(f"{name} does not load: {error} ({error.type}, status {error.status})") from error
    load_s = time.perf_counter() - start
    grown_mb = (_resident_bytes() - before) / 1e6
    report = LoadReport(description, framework, round(import_s, 3), round(load_s, 3), round(max(grown_mb, 0.0), 1))
    return model, report


def _import_framework(folder: Path, handler: str | None) -> tuple[str | None, float]:
    """Import the model's framework, as the container does before any load; return its name and the seconds taken."""
    from polyhost.handlers import frameworks, lookup

    environment.complete(frameworks.environment())
    start = time.perf_counter()
    framework = lookup.framework_of(folder, handler, environment.handler_settings())
    with contextlib.suppress(ImportError):  # the load will report a framework that is not installed
        for step in frameworks.named(framework).steps if framework else ():
            importlib.import_module(step.partition(":")[0])
    return framework, time.perf_counter() - start


def _predict(model: Any, trial: Trial, body: bytes) -> PredictionReport:
    """Invoke the model once, then `repeat` times more unless the first response is an error."""
    from polyhost.container.worker.types import Request

    headers = {"Content-Type": trial.content_type} | ({"Accept": trial.accept} if trial.accept else {})
    request = Request("check", headers, {"body": bytearray(body)})
    times_ms = []
    for _ in range(1 + trial.repeat):
        start = time.perf_counter()
        response = _respond(model, request)
        times_ms.append((time.perf_counter() - start) * 1e3)
        if response.status >= 400:
            break
    response_type = {name.lower(): value for name, value in response.headers.items()}.get("content-type", "")
    return PredictionReport(response.status, response_type, response.body, round(times_ms[0], 2), _median(times_ms[1:]))


def _respond(model: Any, request: Any) -> Any:
    try:
        return model.buffered(request, model.predict([request])[0])
    except SystemExit as error:
        raise CommandError(f"the model's code called sys.exit({error.code!r})") from error


def _median(times: Sequence[float]) -> float | None:
    return round(statistics.median(times), 2) if times else None


def _resident_bytes() -> int:
    """Return how much memory of this process is in RAM now (proc(5), VmRSS)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("Linux always has VmRSS")
