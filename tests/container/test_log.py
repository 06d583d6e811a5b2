"""Log events: one line each and never interleaved, whatever is logged and whichever processes write."""

import contextlib
import fcntl
import json
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from polyhost.container import log
from polyhost.container.config import Config
from tests.support.waiting import wait_for

Events = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def restored() -> Iterator[None]:
    """Restore the logging of the test run, which `configure` replaces."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def lines(restored: None, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[], list[str]]]:
    """Return a function that reads the log written so far; in JSON unless the test asks for text."""
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    as_json = getattr(request, "param", "json") == "json"
    log.configure(as_json=as_json, level=logging.INFO, descriptor=descriptor, lock_path=str(tmp_path / "lock"))
    yield lambda: path.read_text().splitlines()
    os.close(descriptor)


@pytest.fixture
def events(lines: Callable[[], list[str]]) -> Events:
    return lambda: [json.loads(line) for line in lines()]


def remove_pytests_handlers() -> None:
    root = logging.getLogger()
    root.handlers = [item for item in root.handlers if isinstance(item, log.DescriptorHandler)]


def test_an_event_has_time_level_logger_model_and_message(events: Events) -> None:
    logging.getLogger("polyhost.x").warning("%d of %s", 2, "größe\n", extra={"model": "m", "duration_ms": 1.5})

    (event,) = events()
    time = event.pop("time")
    assert len(time) == len("2026-01-31T12:00:00.000Z") and time.endswith("Z")
    assert event == {
        "level": "WARNING", "logger": "polyhost.x", "model": "m", "duration_ms": 1.5, "message": "2 of größe\n"
    }  # fmt: skip


def test_a_traceback_stays_inside_its_event(events: Events) -> None:
    try:
        raise ValueError("wrong\nin two lines")
    except ValueError:
        logging.getLogger().exception("it failed")

    (event,) = events()
    assert event["traceback"].startswith("Traceback") and event["traceback"].endswith("in two lines")


def test_details_become_fields_of_any_type(events: Events) -> None:
    logging.getLogger().info("x", extra={"details": {"need_bytes": 5, "path": Path("/m")}})

    assert (events()[0]["need_bytes"], events()[0]["path"]) == (5, "/m")


def test_fields_of_event_request_and_process(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_process_fields", {})
    log.bind(model="m", pid=1)
    with log.bound(request_id="outer", target_model="t.tar.gz"), log.bound(request_id="r"):
        logging.getLogger().info("inside")
    logging.getLogger().info("outside", extra={"pid": 2})

    inside, outside = events()
    assert [inside.get(name) for name in log.FIELDS] == ["m", "t.tar.gz", "r", None, None, 1]
    assert [outside.get(name) for name in log.FIELDS] == ["m", None, None, None, None, 2]


@pytest.mark.parametrize("lines", ["text"], indirect=True)
def test_text_format(lines: Callable[[], list[str]]) -> None:
    logging.getLogger("a").error("no", extra={"model": "m", "phase": "load", "details": {"bytes": 5}})

    (line,) = lines()
    assert line.split(" ", 1)[1] == "ERROR   a [m] no phase=load bytes=5"


def test_a_log_call_with_wrong_arguments_is_skipped(events: Events, capsys: pytest.CaptureFixture[str]) -> None:
    remove_pytests_handlers()  # they would raise
    logging.getLogger().info("%d models", "three")
    logging.getLogger().info("after")

    assert [event["message"] for event in events()] == ["after"]
    assert "three" in capsys.readouterr().err


def test_lone_surrogates_are_escaped(events: Events) -> None:
    remove_pytests_handlers()  # pytest-xdist cannot send what they capture
    logging.getLogger().info("caf\udce9")

    assert events()[0]["message"] == "caf\udce9"


def test_events_below_the_level_and_requests_of_http_libraries_are_not_written(events: Events) -> None:
    logging.getLogger().debug("x")
    logging.getLogger("httpx").info("HTTP Request: GET /")

    assert events() == []


@pytest.mark.usefixtures("restored")
def test_logging_to_a_closed_pipe_does_not_raise() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    log.configure(as_json=True, level=logging.INFO, descriptor=writer)

    logging.getLogger().info("unread")

    os.close(writer)


@pytest.mark.usefixtures("restored")
def test_a_short_event_never_lands_inside_a_long_one(tmp_path: Path) -> None:
    """Stop a process that has filled the pipe with half of an event while another one wants to write."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    log.configure(as_json=True, level=logging.INFO, descriptor=writer, lock_path=str(tmp_path / "lock"))
    long = in_a_child(lambda: logging.getLogger().info("x" * 10_000))
    wait_for(lambda: state_of(long) == "S", "a full pipe")
    os.kill(long, signal.SIGSTOP)
    wait_for(lambda: state_of(long) == "T", "the stop")
    data = os.read(reader, 4096)

    short = in_a_child(lambda: logging.getLogger().info("short"))
    wait_for(lambda: state_of(short) in "SZ", "waiting for the lock, or an end without it")
    os.kill(long, signal.SIGCONT)
    os.close(writer)
    while piece := os.read(reader, 4096):
        data += piece
    for pid in (long, short):
        os.waitpid(pid, 0)
    os.close(reader)

    assert [len(json.loads(line)["message"]) for line in data.splitlines()] == [10_000, 5]


@pytest.mark.usefixtures("restored")
def test_a_process_forked_by_another_thread_does_not_keep_the_lock(tmp_path: Path) -> None:
    """Fork while the lock is held: the child holds the open file to which the lock belongs."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    lock_path = tmp_path / "lock"
    log.configure(as_json=True, level=logging.INFO, descriptor=writer, lock_path=str(lock_path))
    long = threading.Thread(target=lambda: logging.getLogger().info("x" * 10_000))
    long.start()
    wait_for(lambda: is_locked(lock_path), "the lock")
    forked = in_a_child(signal.pause)
    try:
        os.set_blocking(reader, False)
        while long.is_alive():
            with contextlib.suppress(BlockingIOError):
                os.read(reader, 4096)
            long.join(0.01)
        assert not is_locked(lock_path)
    finally:
        os.kill(forked, signal.SIGKILL)
        os.waitpid(forked, 0)
        os.close(reader)
        os.close(writer)


def test_a_stopped_lock_holder_does_not_stop_the_other_processes(events: Events, tmp_path: Path) -> None:
    stopped = in_a_child(lambda: keep_lock(tmp_path / "lock"))
    try:
        wait_for(lambda: is_locked(tmp_path / "lock"), "the lock")
        logging.getLogger().info("after a while")
        logging.getLogger().info("at once")
        assert [event["message"] for event in events()] == ["after a while", "at once"]
        (handler,) = [item for item in logging.getLogger().handlers if isinstance(item, log.DescriptorHandler)]
        assert handler._lock_timeout_s == 0
    finally:
        os.kill(stopped, signal.SIGKILL)
        os.waitpid(stopped, 0)

    logging.getLogger().info("with the lock again")
    assert handler._lock_timeout_s > 0


def keep_lock(path: Path) -> None:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        signal.pause()


def is_locked(path: Path) -> bool:
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def in_a_child(action: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        action()
        os._exit(0)
    return pid


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_without_descriptors_left_events_are_still_written(events: Events) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        logging.getLogger().error("too many open files")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert events()[0]["message"] == "too many open files"


@pytest.mark.usefixtures("restored")
def test_processes_of_one_run_directory_share_a_lock_file(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    settings = {"POLYHOST_LOG_FORMAT": "text", "SAGEMAKER_CONTAINER_LOG_LEVEL": "error"}
    log.configure_for(Config.from_environ(settings), tmp_path, writer)
    logging.getLogger("polyhost").warning("below the level")
    logging.getLogger("polyhost").error("an error")
    os.close(writer)

    with open(reader) as lines:  # noqa: PTH123
        assert [line.split(" ", 1)[1] for line in lines] == ["ERROR   polyhost an error\n"]
    assert [path.name for path in tmp_path.iterdir()] == ["log.lock"]


Printed = Callable[[], list[str]]


@pytest.fixture
def stream() -> log.PrintedLines:
    return log.PrintedLines("stdout", logging.INFO, 1)


@pytest.fixture
def printed(events: Events) -> Printed:
    return lambda: [event["message"] for event in events()]


def test_print_and_stderr_become_events(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    log.capture_prints()
    print("one", "two")
    print("three", end="", file=sys.stderr)
    log.close_printed_lines()

    assert [(event["logger"], event["level"], event["message"]) for event in events()] == [
        ("stdout", "INFO", "one two"), ("stderr", "WARNING", "three")
    ]  # fmt: skip


def test_each_line_but_an_empty_one_is_an_event(stream: log.PrintedLines, printed: Printed) -> None:
    stream.write("a\nb\r\n\n  \nc\n")

    assert printed() == ["a", "b", "c"]


def test_a_line_in_parts_is_one_event(stream: log.PrintedLines, printed: Printed) -> None:
    for part in ("a", "b\r", "\nc"):
        print(part, end="", flush=True, file=stream)
    assert printed() == ["ab"]

    stream.close_line()
    stream.close_line()
    assert printed() == ["ab", "c"]


def test_a_progress_bar_is_one_event_and_uses_bounded_memory(stream: log.PrintedLines, printed: Printed) -> None:
    for percent in range(100_000):
        stream.write(f"\rloading: {percent / 1000}%")
    assert len(stream._unfinished) < 100
    stream.write("\n")

    assert printed() == ["loading: 99.999%"]


def test_endless_output_without_a_line_end_is_cut(stream: log.PrintedLines, printed: Printed) -> None:
    for _ in range(300):
        stream.write("x" * 1000)
    stream.close_line()

    assert len(printed()) > 1
    assert sum(map(len, printed())) == 300_000


def test_printed_lines_behave_like_a_stream(stream: log.PrintedLines) -> None:
    assert stream.writable() and not stream.isatty()
    assert (stream.fileno(), stream.encoding, stream.write("größe")) == (1, "utf-8", 5)
