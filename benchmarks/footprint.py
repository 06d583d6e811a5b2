"""What a server holds before it has a model: its processes' own memory, and their share of what they share."""

import os
from functools import partial

import psutil

from benchmarks.bench import Bench
from benchmarks.memory import still
from benchmarks.models import Kind
from benchmarks.servers import Server

_ZYGOTE = "polyhost.container.forkserver.zygote"  # a fork has its command line as well


def footprint(bench: Bench, kind: Kind) -> dict[str, float]:
    """Of a server that has just started; once its zygotes have imported what they are for."""
    return {"pss_mb": still(lambda: _pss_mb(bench.server)), "beside_zygotes_mb": _pss_mb(bench.server, zygotes=False)}


def _pss_mb(server: Server, zygotes: bool = True) -> float:
    return sum(_pss(process) for process in _processes(server) if zygotes or not _forks(process))


def _processes(server: Server) -> set[psutil.Process]:
    """Stock's Java is no descendant of the process that started it, and a worker of polyhost's has left its session."""
    first = psutil.Process(server.process.pid)
    return {first, *first.children(recursive=True), *filter(partial(_is_in_session, first.pid), psutil.process_iter())}


def _is_in_session(session: int, process: psutil.Process) -> bool:
    try:
        return os.getsid(process.pid) == session
    except ProcessLookupError:
        return False  # it ended meanwhile


def _pss(process: psutil.Process) -> float:
    try:
        return process.memory_full_info().pss / 1e6
    except psutil.Error:
        return 0.0  # it ended meanwhile


def _forks(process: psutil.Process) -> bool:
    try:
        return _ZYGOTE in process.cmdline()
    except psutil.Error:
        return False
