"""Which of the pages that forks share any load writes to: a worker copies them before its request, in one go.

Forks are made ahead of their requests, so this time is nobody's. Only pages that each of several different loads has
written to: those would be copied anyway, one page fault each.
"""

import ctypes
import os
from array import array
from collections.abc import Callable, Iterable
from functools import reduce
from operator import and_
from pathlib import Path

from polyhost.container.log import write_all

_MADV_POPULATE_WRITE = 23  # madvise(2), Linux 5.14; where it is not known, pages are copied when they are written to
_PRESENT, _FILE, _EXCLUSIVE = 1 << 63, 1 << 61, 1 << 56  # kernel: admin-guide/mm/pagemap.rst
_ENTRY_BYTES = 8

Rehearsal = Callable[[], object]


class Forecast:
    """Learnt once before the forks; `copy` is for each of them."""

    def __init__(self, rehearsals: Iterable[Rehearsal]) -> None:
        written = [_written_by(rehearsal) for rehearsal in rehearsals]
        shared = _pages(_PRESENT) - _written_by(lambda: None)  # what a fork and the counting itself write to
        self._spans = _spans(reduce(and_, written, shared) if written else ())

    def copy(self) -> None:
        madvise = ctypes.CDLL(None).madvise
        madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        spans = iter(self._spans)
        for start, length in zip(spans, spans, strict=True):
            madvise(start, length, _MADV_POPULATE_WRITE)


def _written_by(rehearsal: Rehearsal) -> set[int]:
    """Addresses of the pages that are a fork's own after it.."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            rehearsal()
            write_all(writer, array("Q", _pages(_PRESENT | _EXCLUSIVE)).tobytes())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:  # noqa: PTH123
        addresses = array("Q", file.read())
    os.waitpid(pid, 0)
    return set(addresses)


def _pages(flags: int) -> set[int]:
    """Addresses of this process's private writable pages that have these flags and are no file's."""
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
    """Start and length, in turn; an array, for a fork that goes through it should not write to it."""
    size, spans = os.sysconf("SC_PAGESIZE"), array("Q")
    for page in sorted(pages):
        if spans and spans[-2] + spans[-1] == page:
            spans[-1] += size
        else:
            spans.extend((page, size))
    return spans
