"""Lines from another process's output."""

import contextlib
import os
from collections.abc import Iterator

import pytest

from polyhost.container.system.line_reader import LineReader
from tests.container.forking import descriptors_of, opened_since


@pytest.fixture
def pipe() -> Iterator[tuple[LineReader, int]]:
    reader, writer = os.pipe()
    lines = LineReader(reader)
    yield lines, writer
    lines.close()
    with contextlib.suppress(OSError):  # a test may have closed it
        os.close(writer)


Pipe = tuple[LineReader, int]


def test_empty_pipe_is_not_the_end(pipe: Pipe) -> None:
    lines, writer = pipe
    assert lines.read() == []

    os.close(writer)
    assert lines.read() is None
    assert lines.read() is None


def test_lines_are_returned_when_complete_and_not_blank(pipe: Pipe) -> None:
    lines, writer = pipe
    os.write(writer, b"one\n\n  \ntw")
    assert lines.read() == ["one"]
    os.write(writer, b"o\nthree")
    assert lines.read() == ["two"]
    os.close(writer)

    assert lines.read() == ["three"]
    assert lines.read() is None


def test_endless_line_is_split(pipe: Pipe) -> None:
    lines, writer = pipe
    total = 0
    for _ in range(5):
        os.write(writer, b"x" * 50_000)
        total += sum(map(len, lines.read() or []))

    assert total >= 150_000


def test_bytes_that_are_not_utf_8_are_replaced(pipe: Pipe) -> None:
    lines, writer = pipe
    os.write(writer, b"caf\xe9\n")

    assert lines.read() == ["caf\N{REPLACEMENT CHARACTER}"]


def test_second_close_closes_no_other_descriptor() -> None:
    reader, writer = os.pipe()
    lines = LineReader(reader)
    lines.close()
    os.close(writer)
    before = descriptors_of()
    other = os.pipe()
    lines.close()

    assert len(opened_since(before)) == 2
    for descriptor in other:
        os.close(descriptor)
