"""What is printed becomes events, by whatever way, with text streams that behave like text streams."""

import codecs
import contextlib
import gc
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from polyhost.container.worker import printed
from tests.container.conftest import Events

Messages = Callable[[], list[str]]


@pytest.fixture
def replaced(restored: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    monkeypatch.setattr(printed, "_capture", None)
    yield


@pytest.fixture
def messages(replaced: None, events: Events) -> Messages:
    """Return a function that returns the messages of the events so far.

    The tests capture the streams themselves: pytest replaces them between the fixtures and the test.
    """
    return lambda: [event["message"] for event in events()]


def test_print_and_stderr_become_events(messages: Messages, events: Events) -> None:
    printed.capture()
    print("one", "two")
    print("three", end="", file=sys.stderr)
    printed.flush()

    assert [(event["logger"], event["level"], event["message"]) for event in events()] == [
        ("stdout", "INFO", "one two"), ("stderr", "WARNING", "three")
    ]  # fmt: skip


def test_each_line_but_an_empty_one_is_an_event(messages: Messages) -> None:
    printed.capture()
    sys.stdout.write("a\nb\r\n\n  \nc\n")

    assert messages() == ["a", "b", "c"]


def test_a_line_in_parts_is_one_event(messages: Messages) -> None:
    printed.capture()
    for part in ("a", "b\r", "\nc"):
        print(part, end="", flush=True)
    assert messages() == ["ab"]

    printed.flush()
    printed.flush()
    assert messages() == ["ab", "c"]


def test_a_progress_bar_is_one_event_and_uses_bounded_memory(messages: Messages) -> None:
    printed.capture()
    for percent in range(100_000):
        sys.stderr.write(f"\rloading: {percent / 1000}%")
    assert isinstance(sys.stderr, printed.PrintedText)
    assert len(sys.stderr.lines.unfinished) < 100
    sys.stderr.write("\n")

    assert messages() == ["loading: 99.999%"]


def test_endless_output_without_a_line_end_is_cut(messages: Messages) -> None:
    printed.capture()
    for _ in range(300):
        sys.stdout.write("x" * 1000)
    printed.flush()

    assert len(messages()) > 1
    assert sum(map(len, messages())) == 300_000


WAYS_TO_PRINT: dict[str, Callable[[], object]] = {
    "buffer": lambda: sys.stdout.buffer.write("größe\n".encode()),
    "buffer in parts": lambda: [sys.stdout.buffer.write(bytes([byte])) for byte in "größe\n".encode()],
    "buffer's lines": lambda: sys.stdout.buffer.writelines([b"gr\xc3\xb6", b"\xc3\x9fe\n"]),
    "buffer, a view": lambda: sys.stdout.buffer.write(memoryview(bytearray("größe\n".encode()))),
    "raw": lambda: text().buffer.raw.write("größe\n".encode()),
    "writelines": lambda: sys.stdout.writelines(["grö", "ße\n"]),
    "line_buffering": lambda: (text().reconfigure(line_buffering=False), print("größe")),
    "write_through": lambda: (text().reconfigure(write_through=False), print("größe")),
    "latin-1": lambda: (text().reconfigure(encoding="latin-1"), print("größe")),
    "utf-16": lambda: (text().reconfigure(encoding="utf-16"), print("größe")),
    "original": lambda: print("größe", file=sys.__stdout__),
    "codecs": lambda: print("größe", file=codecs.getwriter("utf-8")(sys.stdout.buffer)),
    "redirected": lambda: redirect_and_print(),
    "after close": lambda: (sys.stdout.close(), print("größe")),
    "after detach": lambda: (text().detach(), print("größe")),
    "detached": lambda: text().detach().write("größe\n".encode()),
    "wrapped": lambda: wrap_and_print(line_buffering=True),
    "wrapped, not flushed": lambda: wrap_and_print(),
    "wrapped twice": lambda: [wrap_and_print(text) for text in ("größe\n", "")],
    "wrapped and dropped": lambda: (io.TextIOWrapper(sys.stdout.buffer), gc.collect(), print("größe")),
    "a writer of its own": lambda: (io.BufferedWriter(sys.stdout.buffer), gc.collect(), print("größe")),
}


def text() -> Any:
    return sys.stdout


def redirect_and_print() -> None:
    with contextlib.redirect_stdout(io.StringIO()) as text:
        print("not seen")
    assert text.getvalue() == "not seen\n"
    with contextlib.redirect_stdout(sys.stderr):
        print("größe")


def wrap_and_print(text: str = "größe\n", line_buffering: bool = False) -> object:
    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", line_buffering=line_buffering)
    return print(text, end="")


@pytest.mark.parametrize("way", WAYS_TO_PRINT)
def test_every_way_to_print_is_one_event(messages: Messages, way: str) -> None:
    printed.capture()
    WAYS_TO_PRINT[way]()
    printed.flush()
    assert messages() == ["größe"]

    print("and on")
    print("on", file=sys.__stdout__)
    printed.flush()
    assert messages() == ["größe", "and on", "on"] if sys.stdout is sys.__stdout__ else len(messages()) == 3


def test_attributes_of_text_streams(messages: Messages) -> None:
    printed.capture()
    for stream, name, descriptor in ((sys.stdout, "<stdout>", 1), (sys.stderr, "<stderr>", 2)):
        assert isinstance(stream, io.TextIOWrapper)
        assert (stream.name, stream.mode, stream.encoding, stream.newlines) == (name, "w", "utf-8", None)
        assert stream.line_buffering and stream.write_through and stream.errors
        assert stream.writable() and not stream.readable() and not stream.seekable() and not stream.isatty()
        assert (stream.fileno(), stream.buffer.fileno(), stream.closed, stream.buffer.closed) == (
            descriptor, descriptor, False, False,
        )  # fmt: skip
        assert stream.write("größe") == 5
        assert stream.buffer.write(b"123") == 3
        with pytest.raises(TypeError, match="must be str, not bytes"):
            stream.write(b"bytes")  # type: ignore[arg-type]
        for wrong in ("text", 5):
            with pytest.raises(TypeError):
                stream.buffer.write(wrong)
        with pytest.raises(io.UnsupportedOperation):
            stream.read()


def test_what_is_not_text_is_logged_in_some_form(messages: Messages) -> None:
    printed.capture()
    sys.stdout.buffer.write(b"caf\xe9\n")
    print("caf\udce9")

    assert messages() == ["caf\\xe9", "caf\udce9"]


def test_a_program_prints_to_the_descriptor(messages: Messages, capfd: pytest.CaptureFixture[str]) -> None:
    printed.capture()
    subprocess.run(["/bin/echo", "native"], stdout=sys.stdout, check=True)

    assert capfd.readouterr().out == "native\n"


def test_streams_of_the_models_own_that_fail_do_no_harm(messages: Messages, monkeypatch: pytest.MonkeyPatch) -> None:
    printed.capture()

    class Broken:
        def flush(self) -> None:
            raise OSError("disk full")

    for stream in (Broken(), None, object()):
        monkeypatch.setattr(sys, "stdout", stream)
        printed.flush()
    print("still", file=sys.stderr)

    assert messages() == ["still"]


def test_threads_lose_no_lines(messages: Messages) -> None:
    printed.capture()

    def talk(number: int) -> None:
        for count in range(200):
            sys.stdout.write(f"{number} {count}\n")

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(messages()) == sorted(f"{number} {count}" for number in range(4) for count in range(200))


def test_a_forked_process_prints_while_a_thread_of_its_parent_held_the_lock(messages: Messages) -> None:
    printed.capture()
    assert isinstance(sys.stdout, printed.PrintedText)
    lock = sys.stdout.lines._lock
    holder = threading.Thread(target=lock.acquire)
    holder.start()
    holder.join()
    pid = os.fork()
    if pid == 0:
        print("from the child")
        os._exit(0)
    os.waitpid(pid, 0)

    assert messages() == ["from the child"]
