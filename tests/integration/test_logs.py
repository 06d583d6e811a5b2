"""The container's log: one JSON object per event, attributed to its model, or plain text."""

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.container import ContainerProcess, running
from tests.support.models import place
from tests.support.waiting import wait_for

NewModel = Callable[[str], str]
TARGET = {"X-Amzn-SageMaker-Target-Model": "animals/cats.tar.gz"}


@pytest.fixture
def printed(container: ContainerProcess, new_model: NewModel) -> Iterator[tuple[str, str]]:
    """Load and invoke a model that prints in every way; return its name and the request's id."""
    name = container.loaded(new_model("prints"))
    response = container.invoke(name, "1", **TARGET)
    container.wait_for_event("native err in predict", model=name)
    yield name, response.headers["x-request-id"]


def test_every_line_is_an_event(container: ContainerProcess, new_model: NewModel, printed: tuple[str, str]) -> None:
    for kind in ("raises_in_load", "segfaults_in_predict"):
        name = new_model(kind)
        container.load(name)
        container.invoke(name, "die")

    events = [json.loads(line) for line in container.log_text().splitlines()]

    assert all({"time", "level", "logger", "message"} <= set(event) for event in events)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"]) for event in events)
    assert printed[0] in {event.get("model") for event in events}


@pytest.mark.parametrize("where", ["in load", "in predict"])
@pytest.mark.parametrize(
    ("message", "level", "logger"),
    [
        ("printed {}", "INFO", "stdout"),
        ("complained {}", "WARNING", "stderr"),
        ("logged {}", "INFO", "my.model"),
        ("warned {}", "WARNING", "py.warnings"),
        ("native out {}", "INFO", None),
        ("native err {}", "INFO", None),
        ("lines {}", "INFO", "stdout"),
    ],
)
def test_output_of_a_model(
    container: ContainerProcess, printed: tuple[str, str], where: str, message: str, level: str, logger: str | None
) -> None:
    name, _ = printed

    event = container.wait_for_event(message.format(where), model=name)

    assert event["level"] == level
    assert logger in (None, event["logger"])


def test_printed_json_is_a_message(container: ContainerProcess, printed: tuple[str, str]) -> None:
    event = container.wait_for_event('{"looks": "like an event"}', model=printed[0])

    assert (event["logger"], "looks" in event) == ("stdout", False)


def test_request_events_have_its_id_and_target_model(container: ContainerProcess, printed: tuple[str, str]) -> None:
    name, request_id = printed

    for message in ("printed in predict", "logged in predict"):
        event = container.wait_for_event(message, model=name)
        assert (event["request_id"], event["target_model"]) == (request_id, "animals/cats.tar.gz")
    assert "request_id" not in container.wait_for_event("printed in load", model=name)


def test_load_event_has_a_duration(container: ContainerProcess, printed: tuple[str, str]) -> None:
    event = container.wait_for_event("loaded", model=printed[0])

    assert (event["level"], event["phase"]) == ("INFO", "load")
    assert event["duration_ms"] > 0


def test_failed_load_event_has_a_traceback(container: ContainerProcess, new_model: NewModel) -> None:
    name = new_model("raises_in_load")

    container.load(name)

    event = container.wait_for_event("these weights are damaged", model=name)
    assert (event["level"], event["phase"]) == ("ERROR", "load")
    assert 'inference.py", line' in event["traceback"]


def test_failed_request_event_has_a_traceback(container: ContainerProcess, new_model: NewModel) -> None:
    name = container.loaded(new_model("raises_in_predict"))

    response = container.invoke(name, "1", **TARGET)

    event = container.wait_for_event("this body makes no sense", model=name)
    assert (event["level"], event["phase"]) == ("ERROR", "predict")
    assert (event["request_id"], event["target_model"]) == (response.headers["x-request-id"], "animals/cats.tar.gz")
    assert 'inference.py", line' in event["traceback"]


def test_client_error_event_has_no_traceback(container: ContainerProcess, new_model: NewModel) -> None:
    name = container.loaded(new_model("returns_an_exception"))

    container.invoke(name)

    event = container.wait_for_event("short and stout", model=name)
    assert (event["level"], "traceback" in event) == ("WARNING", False)


def test_successful_requests_are_not_logged(container: ContainerProcess, new_model: NewModel) -> None:
    name = container.loaded(new_model("echo"))
    container.wait_for_event("loaded", model=name)
    before = _own_events(container, name)

    for _ in range(5):
        container.http.get("/ping")
        container.http.get("/models")
        container.invoke(name, "1")

    assert _own_events(container, name) == before
    assert "/ping" not in container.log_text()


def _own_events(container: ContainerProcess, name: str) -> list[dict[str, Any]]:
    return [event for event in container.events() if event.get("model") == name]


def test_long_lines_of_several_models_are_not_interleaved(container: ContainerProcess, new_model: NewModel) -> None:
    names = [container.loaded(new_model("prints_long_lines")) for _ in range(3)]

    with ThreadPoolExecutor(3) as pool:
        responses = list(pool.map(lambda name: container.invoke(name, "20").status_code, names))

    assert responses == [200] * 3
    for name in names:
        wait_for(partial(_has_long_lines, container, name, 40), "20 lines from Python and 20 from native code")


def _has_long_lines(container: ContainerProcess, name: str, count: int) -> bool:
    return [event["message"].count("long") for event in _own_events(container, name)].count(4000) == count


def test_plain_text(tmp_path: Path) -> None:
    with running(tmp_path, POLYHOST_LOG_FORMAT="text", POLYHOST_ZYGOTES="bare") as container:
        name = container.loaded(place("prints", container.models_dir))
        broken = place("raises_in_load", container.models_dir)
        assert container.load(broken).status_code == 500
        assert container.invoke(name, "1").status_code == 200
        wait_for(lambda: "native err in predict" in container.log_text(), "the model's last line")

        text = container.log_text()

    assert re.search(rf"^\S+Z INFO +stdout \[{name}\] printed in load$", text, re.MULTILINE)
    assert re.search(rf"^\S+Z INFO +my.model \[{name}\] logged in predict request_id=", text, re.MULTILINE)
    assert re.search(rf"^\S+Z ERROR +\S+ \[{broken}\] load failed: these weights are damaged", text, re.MULTILINE)
    assert "\nTraceback (most recent call last):\n" in text
    assert '{"time"' not in text


def test_log_level(tmp_path: Path) -> None:
    with running(tmp_path, SAGEMAKER_CONTAINER_LOG_LEVEL="40", POLYHOST_ZYGOTES="bare") as container:
        name = container.loaded(place("prints", container.models_dir))
        broken = place("raises_in_load", container.models_dir)
        assert container.load(broken).status_code == 500
        container.wait_for_event("these weights are damaged", model=broken)

        assert not container.events(model=name)


LOGS_TO_STDOUT = """
import io
import logging
import logging.config
import sys

sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
logging.basicConfig(force=True, stream=sys.stdout, level=logging.INFO, format="%(message)s")
logging.info("said at import")


def model_fn(model_dir):
    logging.info("said in load")
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": True})
    logging.disable(logging.CRITICAL)


def transform_fn(model, body, content_type, accept):
    print("said in call")
    raise ValueError("no use")
"""
OWN_HANDLER = """
import logging
import sys


def handle(data, context):
    if data is None:
        logging.getLogger().addHandler(logging.StreamHandler(sys.stdout))
        logging.warning("said at import")
        logging.getLogger().handlers.clear()
        logging.getLogger("mine").info("said in load")
        logging.basicConfig(force=True, stream=sys.__stderr__, format="%(nope)s")
        return
    logging.warning("said in call")
    logging.disable(logging.CRITICAL)
    raise ValueError("no use")
"""


@pytest.mark.parametrize(("file", "source"), [("inference.py", LOGS_TO_STDOUT), ("handle.py", OWN_HANDLER)])
def test_a_models_logging_is_logged_and_reaches_nothing_else(
    container: ContainerProcess, new_model: NewModel, file: str, source: str
) -> None:
    name = new_model("describes_itself")
    for old in container.folder(name).glob("*.py"):
        old.unlink()
    (container.folder(name) / file).write_text(source)
    if file == "handle.py":
        manifest = container.folder(name) / "MAR-INF" / "MANIFEST.json"
        manifest.parent.mkdir()
        manifest.write_text(json.dumps({"model": {"handler": "handle.py:handle"}}))
    container.loaded(name)

    response = container.invoke(name, "x", content_type="text/plain")

    assert response.status_code == 500
    event = container.wait_for_event("ValueError: no use", model=name)
    assert (event["level"], event["request_id"]) == ("ERROR", response.headers["x-request-id"])
    assert event["traceback"].endswith("ValueError: no use")
    for text in ("said at import", "said in load", "said in call"):
        said = [event for event in container.events(model=name) if text in event["message"]]
        assert 1 <= len(said) <= 2, text
        assert len({event["pid"] for event in said}) == 1
    assert container.events(model=name, message="loaded")
