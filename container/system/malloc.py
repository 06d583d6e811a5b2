"""The C library's heap."""

import ctypes


def trim() -> None:
    """Return free memory to the kernel (malloc_trim(3)), if the C library is glibc."""
    if malloc_trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        malloc_trim(0)
