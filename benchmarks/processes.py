"""Recognising polyhost's processes from outside."""

import psutil

_ZYGOTE = "polyhost.container.forkserver.zygote"


def command_line(process: psutil.Process) -> list[str]:
    """Return a process's command line, or nothing if it has ended."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def is_zygote_or_worker(process: psutil.Process) -> bool:
    """Return whether the process is a zygote or was forked from one, which does not change the command line."""
    return any(word.startswith(_ZYGOTE) for word in command_line(process))
