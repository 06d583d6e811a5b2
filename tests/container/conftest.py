"""A real zygote for the tests that need workers, and small models for them."""

import itertools
import json
import logging
import os
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from polyhost import events as events_module
from polyhost.container import log
from polyhost.container.log_records import LoggingHandler
from tests.container.forking import ForkedWorker, Forks, zygote_in

MakeModel = Callable[[str], Path]
ForkWorker = Callable[..., ForkedWorker]
Events = Callable[[], list[dict[str, Any]]]

ANSWERS_NOTHING = "def handle(data, context): return [b''] * len(data or [])"


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Run one zygote for the session, some of whose steps fail. The lock is what libraries make when imported."""
    folder = tmp_path_factory.mktemp("forks")
    with zygote_in(
        folder, "json.tool", "no_such_module", "statistics:no_such_function", "multiprocessing:Lock"
    ) as zygote:
        forks = Forks(zygote, folder)
        assert forks.ready  # so that its workers are forks of a zygote with all steps done
        yield forks


@pytest.fixture
def make_model(forks: Forks, request: pytest.FixtureRequest) -> MakeModel:
    """Write a handler below the container's models folder; return the model directory."""
    numbers = itertools.count(1)

    def make(handler: str) -> Path:
        directory = forks.models_dir / f"{abs(hash(request.node.nodeid)):x}-{next(numbers)}"
        directory.mkdir(parents=True)
        (directory / "handle.py").write_text(textwrap.dedent(handler))
        return directory

    return make


@pytest.fixture
def worker(forks: Forks, make_model: MakeModel) -> Iterator[ForkWorker]:
    """Fork workers for the source of a handler; end them after the test."""
    forked: list[ForkedWorker] = []

    def fork(handler: str = ANSWERS_NOTHING, **request: object) -> ForkedWorker:
        forked.append(forks.fork(make_model(handler), **request))
        return forked[-1]

    yield fork
    for item in forked:
        item.close()


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restore the logging of the test run, which `configure` and models replace."""
    root = logging.getLogger()
    handlers, level, disabled = root.handlers[:], root.level, root.manager.disable
    for name in ("lastResort", "raiseExceptions"):
        monkeypatch.setattr(logging, name, getattr(logging, name))
    monkeypatch.setattr(logging.Handler, "handleError", logging.Handler.handleError)
    yield
    events_module.send_to(None)
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    root.manager.disable = disabled
    root.disabled = False
    logging.getLogger("polyhost").setLevel(logging.NOTSET)
    for known in root.manager.loggerDict.values():  # which a configuration may have disabled
        if isinstance(known, logging.Logger):
            known.disabled = False


@pytest.fixture
def lines(restored: None, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[], list[str]]]:
    """Return a function that reads the log written so far; in JSON unless the test asks for text."""
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    as_json = getattr(request, "param", "json") == "json"
    descriptors = log.LogDescriptors.shared(descriptor)
    log.configure(as_json=as_json, level=logging.INFO, descriptors=descriptors)
    yield lambda: path.read_text().splitlines()
    for descriptor in descriptors:
        os.close(descriptor)


@pytest.fixture
def events(lines: Callable[[], list[str]]) -> Events:
    return lambda: [json.loads(line) for line in lines()]


def remove_pytests_handlers() -> None:
    """Remove the handlers that pytest adds for a test: they raise at a bad log call, and cannot send some text."""
    root = logging.getLogger()
    root.handlers = [item for item in root.handlers if isinstance(item, LoggingHandler)]
