"""Out of memory: how errors express it, and which workers the kernel killed for it."""

import errno
import re
from collections.abc import Callable
from functools import cache

from polyhost.handlers import frameworks

# Any framework's, with CUDA ("CUDA out of memory", cudaErrorMemoryAllocation, CUBLAS_STATUS_ALLOC_FAILED and kin), C++
# (std::bad_alloc), and the system: the texts of ENOMEM and ENOSPC, because errors of other types quote them. The rows
# of polyhost.handlers.frameworks have more.
_TEXTS = (
    "cannot allocate memory", "unable to allocate", "out of memory", "memory allocation", "memoryallocation",
    "memory exhausted", "bad_alloc", "_alloc_failed", "no space left on device",
)  # fmt: skip
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
        if (isinstance(seen, RuntimeError | OSError) or _is_native(seen)) and _texts().search(str(seen)):
            return True
        seen = seen.__cause__
    return False


def _is_native(error: BaseException) -> bool:
    return any(f"{kind.__module__}:{kind.__qualname__}" in _native_errors() for kind in type(error).__mro__)


@cache
def _native_errors() -> frozenset[str]:
    return frozenset(name for row in frameworks.registered().values() for name in row.native_errors)


@cache
def _texts() -> re.Pattern[str]:
    rows = frameworks.registered().values()
    texts = [*_TEXTS, *(text for row in rows for text in row.out_of_memory)]
    return re.compile("|".join(map(re.escape, texts)), re.IGNORECASE)


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
