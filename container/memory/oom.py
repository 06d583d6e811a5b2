"""Every way in which Python, the system and the frameworks say "out of memory"."""

import errno
import re

# MXNet: "Failed to allocate CPU Memory", "Memory allocation failed". PyTorch: "can't allocate memory", "CUDA out of
# memory", "not enough memory". CUDA's libraries: cudaErrorMemoryAllocation, CUBLAS_STATUS_ALLOC_FAILED and kin.
# C++: std::bad_alloc. The system: ENOMEM and ENOSPC by their texts, for where another error carries them.
_TEXTS = re.compile(
    r"failed to allocate|can't allocate memory|cannot allocate memory|unable to allocate|out of memory"
    r"|not enough memory|memory allocation|memoryallocation|memory exhausted|bad_alloc|_alloc_failed"
    r"|no space left on device",
    re.IGNORECASE,
)
_ERRNOS = frozenset({errno.ENOMEM, errno.ENOSPC})


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this error, or what it was raised from, is for lack of memory or disk.

    Only errors of the system and of native code are judged by their text: a ValueError may speak of memory freely.
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
