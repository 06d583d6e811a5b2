"""System calls that Python has no binding for."""

import ctypes
import os
from functools import cache

_PR_SET_NO_NEW_PRIVS = 38


@cache
def library() -> ctypes.CDLL:
    """Return the C library; errors are in `ctypes.get_errno()`."""
    return ctypes.CDLL(None, use_errno=True)


def system_call(number: int, *arguments: int | ctypes.Array[ctypes.c_char]) -> int:
    """Make a system call; integers are passed as C's long. Raises OSError."""
    passed = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    status = int(library().syscall(ctypes.c_long(number), *passed))
    if status == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return status


def set_no_new_privileges() -> None:
    """Have execve grant nothing from now on: no setuid program does (prctl(2), PR_SET_NO_NEW_PRIVS). Raises OSError."""
    if library().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
