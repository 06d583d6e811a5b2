"""Log events: one line each and never interleaved, whatever is logged and whichever processes write."""

import contextlib
import fcntl
import json
import logging
import os
import resource
import signal
import sys
import termios
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from polyhost.container import log
from polyhost.container.config import Config
from polyhost.container.log_formats import FIELDS
from polyhost.events import current_sink, get_logger
from tests.container.conftest import Events, remove_pytests_handlers
from tests.support.waiting import wait_for


def test_an_event_has_time_level_logger_model_and_message(events: Events) -> None:
    get_logger("polyhost.x").warning("%d of %s", 2, "größe\n", extra={"model": "m", "duration_ms": 1.5})

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
    for logger in (logging.getLogger(), get_logger("polyhost")):
        with log.bound(request_id="outer", target_model="t.tar.gz"), log.bound(request_id="r"):
            logger.info("inside")
    logging.getLogger().info("outside", extra={"pid": 2, "model": "resnet", "phase": "train"})
    get_logger("polyhost").info("outside", extra={"pid": 2})

    *inside, of_the_model, ours = events()
    for event in inside:
        assert [event.get(name) for name in FIELDS] == ["m", "t.tar.gz", "r", None, None, 1]
    assert [of_the_model.get(name) for name in FIELDS] == ["m", None, None, "train", None, 1]
    assert [ours.get(name) for name in FIELDS] == ["m", None, None, None, None, 2]


def test_a_field_that_is_a_function_is_called_for_each_event(events: Events) -> None:
    calls = iter(("first", "second"))
    with log.bound(target_model=lambda: next(calls)):
        logging.getLogger().info("x")
        get_logger("polyhost").info("y")

    assert [event["target_model"] for event in events()] == ["first", "second"]


def test_a_function_among_an_events_own_fields_is_not_called(events: Events) -> None:
    get_logger("polyhost").info("x", extra={"target_model": len})

    assert events()[0]["target_model"] == str(len)


@pytest.mark.parametrize("lines", ["text"], indirect=True)
def test_text_format(lines: Callable[[], list[str]]) -> None:
    get_logger("a").error("no", extra={"model": "m", "phase": "load", "details": {"bytes": 5}})

    (line,) = lines()
    assert line.split(" ", 1)[1] == "ERROR   a [m] no phase=load bytes=5"


def test_lone_surrogates_are_escaped(events: Events) -> None:
    remove_pytests_handlers()
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
    log.configure(as_json=True, level=logging.INFO, descriptors=log.LogDescriptors(writer))

    logging.getLogger().info("unread")

    os.close(writer)


@pytest.mark.usefixtures("restored")
def test_a_short_event_never_lands_inside_a_long_one() -> None:
    """Stop a process that has filled the pipe with half of an event while another one wants to write."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    descriptors = shared(writer)
    long = in_a_child(lambda: logging.getLogger().info("x" * 10_000))
    wait_for(lambda: unread_bytes(reader) == 4096, "a full pipe")
    os.kill(long, signal.SIGSTOP)
    wait_for(lambda: state_of(long) == "T", "the stop")
    data = os.read(reader, 4096)

    short = in_a_child(lambda: logging.getLogger().info("short"))
    wait_for(lambda: state_of(short) in "SZ", "waiting for the lock, or an end without it")
    os.kill(long, signal.SIGCONT)
    close(descriptors)
    while piece := os.read(reader, 4096):
        data += piece
    for pid in (long, short):
        os.waitpid(pid, 0)
    os.close(reader)

    assert [len(json.loads(line)["message"]) for line in data.splitlines()] == [10_000, 5]


@pytest.mark.usefixtures("restored")
def test_a_process_forked_by_another_thread_does_not_keep_the_lock() -> None:
    """Fork while the lock is held: the child holds the open file to which the lock belongs."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    descriptors = shared(writer)
    long = threading.Thread(target=lambda: logging.getLogger().info("x" * 10_000))
    long.start()
    wait_for(lambda: is_locked(descriptors), "the lock")
    forked = in_a_child(signal.pause)
    try:
        os.set_blocking(reader, False)
        while long.is_alive():
            with contextlib.suppress(BlockingIOError):
                os.read(reader, 4096)
            long.join(0.01)
        assert not is_locked(descriptors)
    finally:
        os.kill(forked, signal.SIGKILL)
        os.waitpid(forked, 0)
        os.close(reader)
        close(descriptors)


def test_a_stopped_lock_holder_does_not_stop_the_other_processes(events: Events) -> None:
    sink = current_sink()
    assert isinstance(sink, log.LogSink)
    output = sink.output
    assert isinstance(output, log.SharedDescriptor)
    stopped = in_a_child(lambda: keep_lock(output.descriptors))
    try:
        wait_for(lambda: is_locked(output.descriptors), "the lock")
        logging.getLogger().info("after a while")
        logging.getLogger().info("at once")
        assert [event["message"] for event in events()] == ["after a while", "at once"]
        assert output.lock_timeout_s == 0
    finally:
        os.kill(stopped, signal.SIGKILL)
        os.waitpid(stopped, 0)

    logging.getLogger().info("with the lock again")
    assert output.lock_timeout_s > 0


def shared(descriptor: int) -> log.LogDescriptors:
    """Log to the descriptor as the processes of a container do that run no model's code."""
    descriptors = log.LogDescriptors.shared(descriptor)
    log.configure(as_json=True, level=logging.INFO, descriptors=descriptors)
    return descriptors


def close(descriptors: log.LogDescriptors) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def keep_lock(descriptors: log.LogDescriptors) -> None:
    with Path(descriptors.lock_path or "").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        signal.pause()


def is_locked(descriptors: log.LogDescriptors) -> bool:
    with Path(descriptors.lock_path or "").open("ab") as file:
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


def unread_bytes(pipe: int) -> int:
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


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
def test_settings_choose_form_and_level() -> None:
    reader, writer = os.pipe()
    settings = {"POLYHOST_LOG_FORMAT": "text", "SAGEMAKER_CONTAINER_LOG_LEVEL": "error"}
    log.configure_for(Config.from_environ(settings), log.LogDescriptors(writer))
    logging.getLogger("polyhost").warning("below the level")
    logging.getLogger("polyhost").error("an error")
    os.close(writer)

    with open(reader) as lines:  # noqa: PTH123
        assert [line.split(" ", 1)[1] for line in lines] == ["ERROR   polyhost an error\n"]
