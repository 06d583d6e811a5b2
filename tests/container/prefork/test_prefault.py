"""Rehearsals in real forks; what they have in common is copied ahead."""

import mmap
import os
import resource
from collections.abc import Callable, Iterable

import pytest

from polyhost.container.prefork.prefault import Forecast

PAGE = os.sysconf("SC_PAGESIZE")


def in_a_fork(count: Callable[[], int]) -> int:
    """What it counts, up to 255."""
    pid = os.fork()
    if pid == 0:
        os._exit(count())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def memory() -> Iterable[mmap.mmap]:
    """Ninety pages, written to before any fork."""
    with mmap.mmap(-1, 90 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory[:] = b"x" * len(memory)
        yield memory


def touch(memory: mmap.mmap, pages: range) -> None:
    for page in pages:
        memory[page * PAGE] = ord("y")


def faults(memory: mmap.mmap, pages: range) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    touch(memory, pages)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_what_all_rehearsals_write_to_is_copied_ahead_and_nothing_else(memory: mmap.mmap) -> None:
    forecast = Forecast([lambda: touch(memory, range(60)), lambda: touch(memory, range(30, 90))])

    def count(pages: range) -> int:
        def counted() -> int:
            forecast.copy()
            touch(memory, range(1))  # the first time, the counting itself has faults
            faults(memory, range(1))
            return faults(memory, pages)

        return in_a_fork(counted)

    assert count(range(30, 60)) < 5
    assert count(range(1, 30)) >= 29
    assert count(range(60, 90)) >= 30
    assert memory[:] == b"x" * len(memory)


def test_a_copy_holds_what_the_page_held(memory: mmap.mmap) -> None:
    forecast = Forecast([lambda: touch(memory, range(90))])
    touch(memory, range(10))

    def same() -> int:
        forecast.copy()
        return int(memory[:: 5 * PAGE] == b"yy" + b"x" * 16)

    assert in_a_fork(same) == 1


@pytest.mark.parametrize("end", [lambda: os._exit(1), lambda: os.kill(os.getpid(), 9), lambda: 1 / 0])
def test_a_rehearsal_that_fails_forecasts_nothing(memory: mmap.mmap, end: Callable[[], None]) -> None:
    Forecast([lambda: touch(memory, range(90)), end]).copy()
    Forecast([]).copy()
