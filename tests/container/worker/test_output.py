"""What models log and print in real workers, whatever they do to `logging` and to the standard streams."""

import signal
import textwrap
from typing import Any

import pytest

from polyhost.container.worker.status_page import LOAD_REPLY, WorkerState
from tests.container.conftest import ForkWorker
from tests.container.forking import ForkedWorker

SOURCE = """
import io, json, logging, logging.config, sys

def change():
    {change}

def say(where):
    if where == "{where}":
        change()
    logging.getLogger("my.model").warning("hello in %s", where)

say("import")

def handle(data, context):
    if data is None:
        say("load")
        return
    say("call")
    if bytes(data[0]["body"]) == b"fail":
        raise ValueError("of the model")
    return [b"done"] * len(data)
"""
DICT_CONFIG = """
logging.config.dictConfig({
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}},
    "root": {"level": "INFO", "handlers": ["out"]},
})
"""
STREAM_TO_LOGGER = """
class Stream:
    def write(self, text):
        if text.strip():
            logging.getLogger("printed").info(text)
    def flush(self):
        pass
logging.basicConfig(force=True, stream=sys.stdout, level=logging.INFO)
sys.stdout = Stream()
"""
CHANGES = {
    "another handler": "logging.getLogger().addHandler(logging.StreamHandler(sys.stdout))",
    "another handler, stderr": "logging.getLogger().addHandler(logging.StreamHandler())",
    "the original stream": "logging.getLogger().addHandler(logging.StreamHandler(sys.__stdout__))",
    "basicConfig": "logging.basicConfig(force=True, stream=sys.stdout, level=logging.INFO)",
    "basicConfig, original stderr": "logging.basicConfig(force=True, stream=sys.__stderr__)",
    "dictConfig": DICT_CONFIG,
    "no handlers": "logging.getLogger().handlers.clear()",
    "no last resort": "logging.getLogger().handlers.clear(); logging.lastResort = None; logging.basicConfig()",
    "stdout to the logger": STREAM_TO_LOGGER,
    "wrapped": "sys.stdout = io.TextIOWrapper(sys.stdout.buffer); logging.basicConfig(force=True, stream=sys.stdout)",
    "format": "logging.basicConfig(force=True, stream=sys.stdout, format='%(nope)s %(message)s')",
    "our handler's format": "logging.getLogger().handlers[0].setFormatter(logging.Formatter('%(nope)s'))",
}


def source(change: str, where: str) -> str:
    return SOURCE.format(change=textwrap.indent(change.strip(), "    ").lstrip(), where=where)


def lines_of(forked: ForkedWorker, text: str) -> list[dict[str, Any]]:
    return [event for event in forked.events() if text in event["message"]]


@pytest.mark.parametrize("where", ["import", "load", "call"])
@pytest.mark.parametrize("change", CHANGES)
def test_each_line_of_a_models_log_is_logged_and_its_own(worker: ForkWorker, change: str, where: str) -> None:
    forked = worker(source(CHANGES[change], where)).loaded()
    assert forked.invoke().predictions[0].body == b"done"

    for place in ("import", "load", "call"):
        lines = lines_of(forked, f"hello in {place}")
        assert 1 <= len(lines) <= 2
        for line in lines:
            assert (line["pid"], line.get("request_id")) == (forked.pid, "r1" if place == "call" else None)


SILENCING = {
    "dictConfig": "logging.config.dictConfig({'version': 1, 'disable_existing_loggers': True})",
    "disable": "logging.disable(logging.CRITICAL)",
    "level": "logging.getLogger().setLevel(logging.CRITICAL)",
    "no handlers": "logging.basicConfig(force=True, handlers=[logging.NullHandler()])",
    "patched": "logging.Logger.handle = logging.Logger.callHandlers = logging.Logger._log = None",
}


@pytest.mark.parametrize("where", ["import", "load", "call"])
@pytest.mark.parametrize("change", SILENCING)
def test_failed_request_has_its_traceback_in_the_log(worker: ForkWorker, change: str, where: str) -> None:
    if change == "patched":
        where = "call"
    forked = worker(source(SILENCING[change], where)).loaded()
    assert forked.invoke(b"fail").predictions[0].status == 500

    (event,) = forked.events(level="ERROR")
    assert (event["phase"], event["request_id"], event["pid"]) == ("predict", "r1", forked.pid)
    assert "handle.py" in event["traceback"]
    assert len(forked.events(message="loaded")) == 1


def test_failed_load_has_its_traceback_in_the_log(worker: ForkWorker) -> None:
    forked = worker("import logging\nlogging.disable(50)\nraise ValueError('no weights')")
    forked.send_load()
    forked.wait_for_end()

    (event,) = forked.events(level="ERROR")
    assert (event["phase"], event["traceback"][-22:]) == ("load", "ValueError: no weights")


PRINTS = """
import io, os, subprocess, sys

sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
sys.stderr.reconfigure(encoding="utf-8", line_buffering=True)
print("at import")

def handle(data, context):
    print("in call" if data else "in load")
    print("to the original", file=sys.__stdout__)
    print("not ended", end="", file=sys.stderr)
    sys.stdout.buffer.write(b"bytes\\n")
    if data:
        subprocess.run(["/bin/echo", "native"], stdout=sys.__stdout__, check=True)
        return [b"done"] * len(data)
"""


def test_printed_lines_are_logged_as_those_of_their_request(worker: ForkWorker) -> None:
    forked = worker(PRINTS, reload=True, batch_size=2)
    for name in ("r1", "r2"):
        assert forked.invoke(request_id=name).predictions[0].body == b"done"
    forked.mms.close()

    assert forked.output() == "native\nnative\n"
    said = [
        (event["message"], event.get("request_id"))
        for event in forked.events()
        if event["logger"] in ("stdout", "stderr")
    ]
    each = ["to the original", "bytes", "not ended"]
    assert sorted(said, key=str) == sorted(
        [
            *(("at import", None), ("in load", None), ("in call", "r1"), ("in call", "r2")),
            *((text, name) for text in each for name in (None, "r1", "r2")),
        ],
        key=str,
    )


ENDS = """
import ctypes, os, signal, sys

def end(frame, event, argument):
    if frame.f_code.co_name == "{name}":
        {end}

def handle(data, context):
    sys.setprofile(end)
"""


@pytest.mark.parametrize(
    ("name", "end", "code"),
    [
        ("_log_timeline", "os._exit(0)", 0),
        ("encode_load_reply", "os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("_log_timeline", "ctypes.string_at(8)", -signal.SIGSEGV),
        ("encode_load_reply", "raise SystemExit(4)", 4),
    ],
)
def test_death_before_the_loads_reply_is_one_in_the_load(worker: ForkWorker, name: str, end: str, code: int) -> None:
    forked = worker(ENDS.format(name=name, end=end))
    forked.send_load()

    assert forked.wait_for_end() == code
    assert forked.status.state == WorkerState.LOADING


def test_death_while_the_loads_reply_is_sent_is_told_apart(worker: ForkWorker) -> None:
    forked = worker(ENDS.format(name="send", end="os.abort()"))
    forked.send_load()

    assert forked.wait_for_end() == -signal.SIGABRT
    assert (forked.status.state, forked.status.payload) == (WorkerState.RESPONDING, LOAD_REPLY.decode().strip('"'))
