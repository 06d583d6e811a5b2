"""A model loaded and invoked in this process, by the container's code, with timings and memory."""

import contextlib
import importlib
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyhost.cli import environment
from polyhost.cli.errors import CommandError
from polyhost.cli.handler_lookup import describe_handler


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


# The functions import the container: `polyhost models` runs without it.


def load(folder: Path, name: str, handler: str | None) -> tuple[Any, LoadReport]:
    """Load the model in this folder. Raise CommandError if that fails."""
    from polyhost.container.errors import LoadError
    from polyhost.container.worker.model import Model, ModelSpec

    description = describe_handler(folder, handler)
    framework, import_s = _import_framework(folder, handler)
    spec = ModelSpec(name, folder, handler) if handler else ModelSpec(name, folder)
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

    start = time.perf_counter()
    framework = lookup.framework_of(folder, handler, environment.handler_settings())
    with contextlib.suppress(ImportError):  # the load will report a framework that is not installed
        for step in frameworks.named(framework).steps if framework else ():
            importlib.import_module(step.partition(":")[0])
    return framework, time.perf_counter() - start


def predict(model: Any, body: bytes, content_type: str, accept: str | None, repeat: int) -> PredictionReport:
    """Invoke the model once, then `repeat` times more unless the first response is an error."""
    from polyhost.container.worker.types import Request

    headers = {"Content-Type": content_type} | ({"Accept": accept} if accept else {})
    request = Request("check", headers, {"body": bytearray(body)})
    times_ms = []
    for _ in range(1 + repeat):
        start = time.perf_counter()
        response = model.predict([request])[0]
        times_ms.append((time.perf_counter() - start) * 1e3)
        if response.status >= 400:
            break
    response_type = {name.lower(): value for name, value in response.headers.items()}.get("content-type", "")
    return PredictionReport(response.status, response_type, response.body, round(times_ms[0], 2), _median(times_ms[1:]))


def _median(times: Sequence[float]) -> float | None:
    return round(statistics.median(times), 2) if times else None


def _resident_bytes() -> int:
    """Return how much memory of this process is in RAM now (proc(5), VmRSS)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("Linux always has VmRSS")
