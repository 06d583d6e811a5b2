"""A model in this process, loaded and asked as the container does it; with what that took."""

import contextlib
import importlib
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyhost.cli import handler_lookup as choice
from polyhost.cli.errors import CommandError


@dataclass(frozen=True)
class Loading:
    """What it took to load the model, apart from the import of its framework, which the container does once."""

    handler: str
    framework: str | None
    import_s: float
    load_s: float
    memory_mb: float


@dataclass(frozen=True)
class Answer:
    """What the model answered, and how fast."""

    status: int
    content_type: str
    body: bytes
    first_ms: float
    warm_ms: float | None


# The container is imported by the functions: `polyhost models` has no use for it.


def load(folder: Path, name: str, handler: str | None) -> tuple[Any, Loading]:
    from polyhost.container.errors import LoadError
    from polyhost.container.worker.model import Model, ModelSpec

    chosen = choice.handler_of(folder, handler)
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
    grown = (_resident_bytes() - before) / 1e6
    return model, Loading(chosen, framework, round(import_s, 3), round(load_s, 3), round(max(grown, 0.0), 1))


def _import_framework(folder: Path, handler: str | None) -> tuple[str | None, float]:
    """What the container has imported before it loads any model."""
    from polyhost.handlers import frameworks, lookup
    from polyhost.handlers.settings import Settings

    start = time.perf_counter()
    framework = lookup.framework_of(folder, handler, Settings.of_process())
    with contextlib.suppress(ImportError):  # a framework that is not installed is the load's news
        for step in frameworks.named(framework).steps if framework else ():
            importlib.import_module(step.partition(":")[0])
    return framework, time.perf_counter() - start


def ask(model: Any, body: bytes, content_type: str, accept: str | None, repeat: int) -> Answer:
    from polyhost.container.worker.types import Request

    headers = {"Content-Type": content_type} | ({"Accept": accept} if accept else {})
    request = Request("check", headers, {"body": bytearray(body)})
    times = []
    for _ in range(1 + repeat):
        start = time.perf_counter()
        response = model.predict([request])[0]
        times.append((time.perf_counter() - start) * 1e3)
        if response.status >= 400:
            break
    answered = {name.lower(): value for name, value in response.headers.items()}.get("content-type", "")
    return Answer(response.status, answered, response.body, round(times[0], 2), _median(times[1:]))


def _median(times: Sequence[float]) -> float | None:
    return round(statistics.median(times), 2) if times else None


def _resident_bytes() -> int:
    """Memory of this process that is in RAM now (proc(5), VmRSS)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("Linux always has VmRSS")
