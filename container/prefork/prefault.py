"""Prefault: a spare worker copies the memory pages that any load writes to before its request comes.

A fork shares its pages with the zygote until it writes to them; then each costs a page fault. Spares are forked ahead
of their requests, so the copying delays no request. Only pages that each of several different loads writes to are
copied: a load would copy them anyway, one at a time.

Measured without it (`scripts/bench --ablation`; kernel 6.18, 2 cores): a logistic regression's worker has 3 to 4 ms
more to do between its request and its first response, of 7; it holds 0.3 MB less.
"""

import ctypes
import mmap
import os
from array import array
from collections.abc import Callable, Iterable
from functools import reduce
from operator import and_
from pathlib import Path
from typing import Self

from polyhost.container.log import write_all
from polyhost.container.system.prctl import set_dumpable

_MADV_POPULATE_WRITE = 23  # madvise(2), Linux 5.14; earlier kernels fail with EINVAL
_PRESENT, _FILE, _EXCLUSIVE = 1 << 63, 1 << 61, 1 << 56  # kernel: admin-guide/mm/pagemap.rst
_ENTRY_BYTES = 8

Exercise = Callable[[], object]


def is_supported() -> bool:
    """Return whether the kernel can prefault: SageMaker's hosts run kernels from 5.10 on."""
    with mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        start = ctypes.c_char.from_buffer(page)
        try:
            status = _madvise()(ctypes.addressof(start), mmap.PAGESIZE, _MADV_POPULATE_WRITE)
            return bool(status == 0) and Path("/proc/self/pagemap").exists()
        finally:
            del start  # the mapping cannot be closed before


class Prefault:
    """The pages to copy, as start and length in turn; in an array, for a fork writes to the objects that it reads."""

    def __init__(self, spans: "array[int] | None" = None) -> None:
        self._spans = spans or array("Q")

    @classmethod
    def learn(cls, exercises: Iterable[Exercise]) -> Self:
        """Run each exercise in a fork, and take the pages that all of them write to."""
        written = [_pages_in_fork(exercise, _EXCLUSIVE) for exercise in exercises]
        # A fork, and counting its pages, write to some pages as well.
        shared = _pages_in_fork(_nothing, 0) - _pages_in_fork(_nothing, _EXCLUSIVE)
        return cls(_spans(reduce(and_, written, shared) if written else ()))

    @property
    def pages(self) -> int:
        """How many pages it copies."""
        return sum(self._spans[1::2]) // mmap.PAGESIZE

    def run(self) -> None:
        """Copy the pages, in a fork."""
        # Looked up once: each ctypes.CDLL makes a class, and thousands of them would take 2.6 MB and 5 ms.
        madvise = _madvise()
        spans = iter(self._spans)
        for start, length in zip(spans, spans, strict=True):
            madvise(start, length, _MADV_POPULATE_WRITE)


def _madvise() -> Callable[[int, int, int], int]:
    madvise: Callable[[int, int, int], int] = ctypes.CDLL(None).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]  # type: ignore[attr-defined]
    return madvise


def _nothing() -> None:
    """Be the exercise of a fork that only counts."""


def _pages_in_fork(exercise: Exercise, flags: int) -> set[int]:
    """Return the addresses of the pages with these flags of a fork that has run the exercise."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            exercise()
            set_dumpable(True)  # the zygote is not, and without privileges could not open its own pagemap (proc(5))
            write_all(writer, array("Q", _own_pages(_PRESENT | flags)).tobytes())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:  # noqa: PTH123
        addresses = array("Q", file.read())
    os.waitpid(pid, 0)
    return set(addresses)


def _own_pages(flags: int) -> set[int]:
    """Return the addresses of this process's private writable pages that have these flags and belong to no file."""
    size, found = os.sysconf("SC_PAGESIZE"), set[int]()
    with open("/proc/self/pagemap", "rb") as pagemap:  # noqa: PTH123
        for line in Path("/proc/self/maps").read_text().splitlines():
            addresses, access, *_ = line.split(None, 2)
            if access == "rw-p":
                start, end = (int(address, 16) for address in addresses.split("-"))
                pagemap.seek(start // size * _ENTRY_BYTES)
                entries = array("Q", pagemap.read((end - start) // size * _ENTRY_BYTES))
                found.update(
                    start + index * size for index, entry in enumerate(entries) if entry & (flags | _FILE) == flags
                )
    return found


def _spans(pages: Iterable[int]) -> "array[int]":
    """Return start and length of each run of pages, in turn."""
    size, spans = os.sysconf("SC_PAGESIZE"), array("Q")
    for page in sorted(pages):
        if spans and spans[-2] + spans[-1] == page:
            spans[-1] += size
        else:
            spans.extend((page, size))
    return spans
