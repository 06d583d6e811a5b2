"""A model's `logging`: every record is an event, whatever the model sets; polyhost's own events are out of reach."""

import io
import json
import logging
import logging.config
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import polyhost.events
from polyhost.container import log_records
from polyhost.events import get_logger
from tests.container.conftest import Events, remove_pytests_handlers


@pytest.fixture(autouse=True)
def as_in_a_worker(events: Events, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(log_records, "_reported", set())
    log_records.keep_what_handlers_lose()
    yield
    logging.setLoggerClass(logging.Logger)
    logging.setLogRecordFactory(logging.LogRecord)
    logging.getLogger("my.model").disabled = False


def root() -> logging.Logger:
    return logging.getLogger()


def use_config(**config: Any) -> None:
    logging.config.dictConfig({"version": 1, **config})


def use_file_config() -> None:
    text = "[loggers]\nkeys=root\n[handlers]\nkeys=\n[formatters]\nkeys=\n[logger_root]\nlevel=CRITICAL\nhandlers=\n"
    logging.config.fileConfig(io.StringIO(text))


class Raising(logging.Logger):
    def handle(self, record: logging.LogRecord) -> None:
        raise RuntimeError("a logger of the model's own")


def raise_error(*args: Any, **options: Any) -> Any:
    raise RuntimeError("replaced by the model")


WAYS_TO_SILENCE: dict[str, Callable[[], object]] = {
    "dictConfig": lambda: use_config(disable_existing_loggers=True),
    "dictConfig of the root": lambda: use_config(root={"level": "CRITICAL", "handlers": []}),
    "fileConfig": use_file_config,
    "disable": lambda: logging.disable(logging.CRITICAL),
    "manager": lambda: setattr(root().manager, "disable", 100),
    "level": lambda: root().setLevel(logging.CRITICAL + 1),
    "level of ours": lambda: logging.getLogger("polyhost").setLevel(logging.CRITICAL),
    "no handlers": lambda: root().handlers.clear(),
    "null handler": lambda: logging.basicConfig(force=True, handlers=[logging.NullHandler()]),
    "disabled": lambda: setattr(root(), "disabled", True),
    "filter": lambda: root().handlers[0].addFilter(lambda record: False),
    "filter that raises": lambda: root().handlers[0].addFilter(raise_error),
    "handler's level": lambda: root().handlers[0].setLevel(100),
    "shutdown": logging.shutdown,
    "logger class": lambda: logging.setLoggerClass(Raising),
    "record factory": lambda: logging.setLogRecordFactory(raise_error),
    "formatter": lambda: root().handlers[0].setFormatter(logging.Formatter("%(nope)s")),
    "handler that raises": lambda: root().handlers.insert(0, RaisingHandler()),
}


class RaisingHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("a handler of the model's own")


@pytest.fixture
def patched_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("handle", "callHandlers", "makeRecord", "isEnabledFor", "_log", "error"):
        monkeypatch.setattr(logging.Logger, name, raise_error)
    monkeypatch.setattr(logging.LogRecord, "getMessage", raise_error)
    monkeypatch.setattr(logging.Handler, "handle", raise_error)
    monkeypatch.setattr(logging.Formatter, "formatException", raise_error)
    monkeypatch.setattr(json, "dumps", raise_error)
    monkeypatch.setattr(traceback, "format_exception", raise_error)


def log_an_error_of_ours(events: Events) -> None:
    try:
        raise ValueError("of the model")
    except ValueError:
        get_logger("polyhost.container.worker.model").exception("500 %s", "ValueError")

    (event,) = [event for event in events() if event["message"] == "500 ValueError"]
    assert (event["logger"], event["level"]) == ("polyhost.container.worker.model", "ERROR")
    assert event["traceback"].endswith("ValueError: of the model")


@pytest.mark.parametrize("way", WAYS_TO_SILENCE)
def test_our_events_are_out_of_reach(events: Events, way: str) -> None:
    remove_pytests_handlers()
    WAYS_TO_SILENCE[way]()

    log_an_error_of_ours(events)


@pytest.mark.usefixtures("patched_methods")
def test_our_events_do_not_use_what_a_model_may_patch(events: Events) -> None:
    log_an_error_of_ours(events)


# What a model does to logging, and it still logs each line once.
WAYS_TO_BREAK: dict[str, Callable[[], object]] = {
    "no handlers": lambda: root().handlers.clear(),
    "new list": lambda: setattr(root(), "handlers", []),
    "shutdown": logging.shutdown,
    "formatter": lambda: root().handlers[0].setFormatter(logging.Formatter("%(nope)s")),
    "brace formatter": lambda: root().handlers[0].setFormatter(logging.Formatter("{nope}", style="{")),
    "formatter that raises": lambda: root().handlers[0].setFormatter(RaisingFormatter()),
    "format": lambda: logging.basicConfig(force=True, format="%(asctime)s %(nope)s", stream=io.StringIO()),
    "closed stream": lambda: logging.basicConfig(force=True, stream=closed()),
    "no exceptions": lambda: raise_no_exceptions(),
}


def raise_no_exceptions() -> None:
    logging.raiseExceptions = False
    logging.basicConfig(force=True, format="%(nope)s")


class RaisingFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        raise KeyError("request_id")


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("way", WAYS_TO_BREAK)
def test_each_record_is_logged_once(events: Events, way: str) -> None:
    remove_pytests_handlers()
    WAYS_TO_BREAK[way]()
    for count in range(3):
        logging.getLogger("my.model").info("line %d", count)

    mine = [event for event in events() if event["logger"] == "my.model"]
    assert [(event["message"], event["level"]) for event in mine] == [
        ("line 0", "INFO"), ("line 1", "INFO"), ("line 2", "INFO")
    ]  # fmt: skip
    reports = [event for event in events() if event["logger"] != "my.model"]
    assert len(reports) <= 1
    assert all("test_log_records.py" in event["message"] and "Error" in event["traceback"] for event in reports)


def test_a_format_of_the_models_own_makes_the_message(events: Events) -> None:
    root().handlers[0].setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    try:
        raise ValueError("x")
    except ValueError:
        logging.getLogger("my.model").exception("it failed")

    (event,) = events()
    assert event["message"].startswith("ERROR my.model: it failed\nTraceback")
    assert "traceback" not in event


class Unprintable:
    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("%d models", "three"), "%d models ('three',)"),
        (("no place", "for this"), "no place ('for this',)"),
        (("%s %s", 1), "%s %s (1,)"),
        (("%s", Unprintable()), "a str that cannot be written"),
        ((Unprintable(),), "a Unprintable that cannot be written"),
    ],
)
def test_a_log_call_with_wrong_arguments_is_logged(events: Events, args: tuple[Any, ...], message: str) -> None:
    remove_pytests_handlers()
    logging.getLogger("my.model").info(*args)
    logging.getLogger("my.model").info("after")

    assert [event["message"] for event in events() if event["logger"] == "my.model"] == [message, "after"]
    (report,) = [event for event in events() if event["logger"] != "my.model"]
    assert report["level"] == "WARNING" and "Error" in report["traceback"]


@pytest.mark.parametrize(
    "details", ["text", 5, {1: 2, ("a",): 3}, {"time": "now", "logger": "x"}, {"a": Unprintable()}]
)
def test_any_details_of_a_model_leave_the_event_whole(events: Events, details: object) -> None:
    logging.getLogger("my.model").info("hello", extra={"details": details})

    (event,) = events()
    assert event["message"].startswith("hello")
    assert (event["level"], event["logger"], event["time"][0]) == ("INFO", "my.model", "2")


def test_a_lower_level_of_the_root_logs_more_of_the_model_only(events: Events) -> None:
    root().setLevel(logging.DEBUG)
    logging.getLogger("my.model").debug("detail")
    get_logger("polyhost").debug("ours")

    assert [event["message"] for event in events()] == ["detail"]


def test_levels_have_their_usual_names_in_our_events(events: Events) -> None:
    logging.addLevelName(logging.INFO, "i")
    try:
        get_logger("polyhost").info("x")
        logging.getLogger("my.model").info("x")
    finally:
        logging.addLevelName(logging.INFO, "INFO")

    assert [event["level"] for event in events()] == ["INFO", "i"]


def remove_ours() -> None:
    root().handlers = [handler for handler in root().handlers if not isinstance(handler, log_records.LoggingHandler)]


def test_without_a_container_our_events_go_to_logging(caplog: pytest.LogCaptureFixture) -> None:
    polyhost.events.send_to(None)
    remove_ours()
    with caplog.at_level(logging.INFO):
        get_logger("polyhost.x").error("of %s", "ours", exc_info=ValueError("v"), extra={"model": "m"})
        get_logger("polyhost.x").debug("too low")

    (record,) = caplog.records
    assert (record.name, record.getMessage(), record.__dict__["model"]) == ("polyhost.x", "of ours", "m")
    assert record.exc_info and str(record.exc_info[1]) == "v"
    assert json.dumps(record.levelname) == '"ERROR"' and sys.exception() is None
