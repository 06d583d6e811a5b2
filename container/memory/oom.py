"""Out of memory: how errors express it, and which workers the kernel killed for it."""

import errno
import re
from collections.abc import Callable

# MXNet: "Failed to allocate CPU Memory", "Memory allocation failed". PyTorch: "can't allocate memory", "CUDA out of
# memory", "not enough memory". CUDA's libraries: cudaErrorMemoryAllocation, CUBLAS_STATUS_ALLOC_FAILED and kin.
# C++: std::bad_alloc. The system: the texts of ENOMEM and ENOSPC, because errors of other types quote them.
_TEXTS = re.compile(
    r"failed to allocate|can't allocate memory|cannot allocate memory|unable to allocate|out of memory"
    r"|not enough memory|memory allocation|memoryallocation|memory exhausted|bad_alloc|_alloc_failed"
    r"|no space left on device",
    re.IGNORECASE,
)
_ERRNOS = frozenset({errno.ENOMEM, errno.ENOSPC})


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether this error, or one that it was raised from, reports a lack of memory or disk space.

    Only the texts of system errors and of native code's errors count: a ValueError may mention memory for any reason.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError):
            return True
        if isinstance(seen, OSError) and seen.errno in _ERRNOS:
            return True
        if isinstance(seen, RuntimeError | OSError) and _TEXTS.search(str(seen)):
            return True
        seen = seen.__cause__
    return False


class OomKills:
    """Attributes the kernel's out-of-memory kills to workers: the kernel counts them without naming the processes."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count
        self._attributed = self._at_last_expiry = count()

    def attribute(self) -> bool:
        """Attribute one kill to a process that died of SIGKILL; return False if none is unattributed."""
        is_new = self._count() > self._attributed
        self._attributed += is_new
        return is_new

    def expire(self) -> None:
        """Discard kills left unattributed since the last call: they hit other processes, e.g. a model's children."""
        self._attributed = max(self._attributed, self._at_last_expiry)
        self._at_last_expiry = self._count()
