"""prctl(2), of which Python has no binding."""

import ctypes

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Adopt the orphans among this process's descendants, as process 1 of a container does."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def signal_on_parent_death(number: int) -> None:
    """Have the kernel send this process a signal when its parent dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def set_dumpable(dumpable: bool) -> None:
    """Let other processes of this user read this one's memory, environment and descriptors, or not (PR_SET_DUMPABLE).

    A fork inherits it, an exec or another user ends it. One that is not dumpable leaves no core either, and its files
    in /proc are root's: as another user it cannot write to its own.
    """
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, int(dumpable))
