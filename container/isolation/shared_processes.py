"""The processes that serve all models: a model's process reads none of them, also where it is the same user's.

Landlock denies that as well. This takes neither Landlock nor privileges.
"""

from polyhost.container.config import Isolation
from polyhost.container.system.prctl import set_dumpable


def protect(isolation: Isolation) -> None:
    """Close this process's memory, environment and descriptors to other processes of its user.

    To be called by each program itself, since an exec undoes it, and once it needs its own files in /proc no more.
    """
    if isolation is not Isolation.OFF:
        set_dumpable(False)
