"""Exercises in real forks; the memory pages that all of them write to are copied ahead."""

import ctypes
import mmap
import os
import resource
from array import array
from collections.abc import Callable, Iterable

import pytest

from polyhost.container.prefork import prefault
from polyhost.container.prefork.prefault import Prefault

PAGE = os.sysconf("SC_PAGESIZE")

needs_populate_write = pytest.mark.skipif(not prefault.is_supported(), reason="needs Linux 5.14")


def result_of_fork(count: Callable[[], int]) -> int:
    """Return what `count` returns in a fork, up to 255."""
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


@needs_populate_write
def test_only_pages_that_all_exercises_write_to_are_copied_ahead(memory: mmap.mmap) -> None:
    learned = Prefault.learn([lambda: touch(memory, range(60)), lambda: touch(memory, range(30, 90))])

    def count(pages: range) -> int:
        def counted() -> int:
            learned.run()
            touch(memory, range(1))  # the first time, the counting itself has faults
            faults(memory, range(1))
            return faults(memory, pages)

        return result_of_fork(counted)

    assert count(range(30, 60)) < 5
    assert count(range(1, 30)) >= 29
    assert count(range(60, 90)) >= 30
    assert memory[:] == b"x" * len(memory)


@needs_populate_write
def test_a_copied_page_keeps_its_content(memory: mmap.mmap) -> None:
    learned = Prefault.learn([lambda: touch(memory, range(90))])
    touch(memory, range(10))

    def same() -> int:
        learned.run()
        return int(memory[:: 5 * PAGE] == b"yy" + b"x" * 16)

    assert result_of_fork(same) == 1


@pytest.mark.parametrize("end", [lambda: os._exit(1), lambda: os.kill(os.getpid(), 9), lambda: 1 / 0])
def test_nothing_is_learned_if_an_exercise_fails(memory: mmap.mmap, end: Callable[[], None]) -> None:
    assert Prefault.learn([lambda: touch(memory, range(90)), end]).pages == 0
    assert Prefault.learn([]).pages == 0


def test_an_unsupported_kernel_is_recognised_and_run_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux before 5.14 fails with EINVAL, as any kernel does for an advice that it does not know."""
    monkeypatch.setattr(prefault, "_MADV_POPULATE_WRITE", 9999)

    assert not prefault.is_supported()
    Prefault(array("Q", [ctypes.addressof(ctypes.c_char()), PAGE])).run()
