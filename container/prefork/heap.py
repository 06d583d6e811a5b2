"""Makes the memory that a zygote's forks share as small and as still as it can be.

A page that a fork writes to is copied. So a fork should have no reason to write among what is shared: neither to
collect garbage there, nor to put something new into a hole that something old has left.
"""

import ctypes
import gc
from pathlib import Path

_MADV_COLLAPSE = 25  # madvise(2), Linux 6.1
_HUGE_PAGE = 2 << 20

# CPython 3.11, Objects/obmalloc.c: places up to 512 bytes come from pools of 16 KB behind a header, of one size each.
_PLACES = range(16, 512 + 1, 16)
_POOL, _POOL_HEADER = 1 << 14, 48
_MOST_IN_HOLES = 1 << 20  # bytes a size; where PYTHONMALLOC names another allocator, nothing else would be the end
_BLOCKS = [1 << power for power in range(16, 3, -1)]


class _MallocInfo(ctypes.Structure):
    """mallinfo2(3)."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


def settle() -> None:
    """Once, after all imports and rehearsals."""
    gc.collect()
    gc.freeze()  # a collection in a fork would write to, and so copy, every page that holds objects
    gc.disable()  # none here either; each worker enables it for itself
    give_back()
    _fill_pools()
    _fill_heap()
    _collapse()


def give_back() -> None:
    """Free memory, to the kernel."""
    ctypes.CDLL(None).malloc_trim(0)


def _fill_pools() -> None:
    """Takes, for good, the places that are free in Python's pools: what a fork makes is then in new ones of its own.

    A size has no hole left when a whole pool's places came one behind the other.
    """
    allocate = ctypes.pythonapi.PyObject_Malloc
    allocate.argtypes, allocate.restype = [ctypes.c_size_t], ctypes.c_size_t
    for size in _PLACES:
        in_a_row, last = 1, 0
        for _ in range(_MOST_IN_HOLES // size):
            place = allocate(size)
            in_a_row = in_a_row + 1 if place == last + size else 1
            last = place
            if in_a_row == (_POOL - _POOL_HEADER) // size:
                break


def _fill_heap() -> None:
    """The same for malloc: the largest first, each size until a block is cut off the heap's end instead."""
    libc = ctypes.CDLL(None)
    allocate, info = libc.malloc, getattr(libc, "mallinfo2", None)
    if info is None:  # glibc before 2.33, or another library
        return
    allocate.argtypes, allocate.restype, info.restype = [ctypes.c_size_t], ctypes.c_void_p, _MallocInfo
    for size in _BLOCKS:
        at_end = info().keepcost
        # malloc's own word completes the size; where there is no memory, it is not the hole that is missing
        while allocate(size - ctypes.sizeof(ctypes.c_size_t)) and info().keepcost == at_end:
            pass


def _collapse() -> None:
    """Asks for huge pages, of which a fork copies one entry in place of 512: PyTorch's forks in half the time.

    Where the kernel does not know the advice, or has no huge page, all stays as it is. A page written to after the
    fork is still copied alone.
    """
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, access, _, _, _, *name = line.split(None, 5)
        if access == "rw-p" and name in ([], ["[heap]"]):
            start, end = (int(address, 16) for address in addresses.split("-"))
            start, end = -(-start // _HUGE_PAGE) * _HUGE_PAGE, end // _HUGE_PAGE * _HUGE_PAGE
            if start < end:
                madvise(start, end - start, _MADV_COLLAPSE)
