"""Makes the memory that forks share with their zygote as small, and as rarely written to, as possible.

Linux copies a shared memory page when a fork first writes to it. So a fork should have no reason to write to pages with
old objects: neither to collect garbage there, nor to put a new object into a hole that an old one has left.
"""

import ctypes
import gc
import sys
import sysconfig

from polyhost.container.system import malloc

# CPython's small objects, of up to 512 bytes in steps of 16, come from pools of 16 KB behind a header, each with blocks
# of one size (Objects/obmalloc.c and, from 3.12, Include/internal/pycore_obmalloc.h; tested with these versions).
_KNOWN_VERSIONS = ((3, 11), (3, 12), (3, 13))
_BLOCK_SIZES = range(16, 512 + 1, 16)
_POOL_BYTES, _POOL_HEADER_BYTES = 1 << 14, 48
_MAX_FILL_BYTES = 1 << 20  # per size: a limit in case PYTHONMALLOC names another allocator

_CHUNK_SIZES = [1 << power for power in range(16, 3, -1)]  # of malloc, the largest first


class _MallocInfo(ctypes.Structure):
    """The result of mallinfo2(3)."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


def settle(fill: bool = True) -> None:
    """Prepare the heap for forks, after all imports and warm-up; `fill` its holes, as far as this Python is known."""
    gc.collect()
    gc.freeze()  # a collection in a fork would write to, and so copy, every page with objects
    gc.disable()  # a zygote needs none either; each worker enables it for itself
    malloc.trim()
    if fill:
        _fill_pools()
        _fill_heap()


def knows_pools() -> bool:
    """Return whether the layout of this Python's pools is known: free-threaded builds have another allocator."""
    free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    known = sys.implementation.name == "cpython" and sys.version_info[:2] in _KNOWN_VERSIONS
    return known and not free_threaded and sys.maxsize > 1 << 32


def _fill_pools() -> None:
    """Allocate, for good, all free blocks in Python's pools, so that a fork's objects come from new pools.

    A size has no hole left once a whole pool's blocks came one behind the other.
    """
    if not knows_pools():
        return
    allocate = ctypes.pythonapi.PyObject_Malloc
    allocate.argtypes, allocate.restype = [ctypes.c_size_t], ctypes.c_size_t
    for size in _BLOCK_SIZES:
        consecutive, last = 1, 0
        for _ in range(_MAX_FILL_BYTES // size):
            block = allocate(size)
            consecutive = consecutive + 1 if block == last + size else 1
            last = block
            if consecutive == (_POOL_BYTES - _POOL_HEADER_BYTES) // size:
                break


def _fill_heap() -> None:
    """Do the same to malloc: allocate chunks of each size until one comes from the heap's end instead of a hole."""
    libc = ctypes.CDLL(None)
    allocate, info = libc.malloc, getattr(libc, "mallinfo2", None)
    if info is None:  # glibc before 2.33, or another C library
        return
    allocate.argtypes, allocate.restype, info.restype = [ctypes.c_size_t], ctypes.c_void_p, _MallocInfo
    for size in _CHUNK_SIZES:
        at_end = info().keepcost
        # A word of malloc's own completes the size. Without memory, malloc returns NULL and the loop ends.
        while allocate(size - ctypes.sizeof(ctypes.c_size_t)) and info().keepcost == at_end:
            pass
