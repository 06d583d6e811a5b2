"""What a server holds before it has a model: its processes' private memory, and their share of what they share."""

import psutil

from benchmarks.available_memory import settled_mb
from benchmarks.context import Context
from benchmarks.models import Kind
from benchmarks.processes import is_zygote_or_worker
from benchmarks.servers import BenchServer
from polyhost.processes import proportional_bytes


def footprint(context: Context, kind: Kind) -> dict[str, float]:
    """Measure a server that has just started, once its zygotes have finished their imports."""
    return {
        "pss_mb": settled_mb(lambda: _pss_mb(context.server)),
        "beside_zygotes_mb": _pss_mb(context.server, zygotes=False),
    }


def _pss_mb(server: BenchServer, zygotes: bool = True) -> float:
    return sum(_pss(pid, zygotes) for pid in server.process.processes())


def _pss(pid: int, zygotes: bool) -> float:
    try:
        process = psutil.Process(pid)
        return proportional_bytes(pid) / 1e6 if zygotes or not is_zygote_or_worker(process) else 0.0
    except psutil.Error:
        return 0.0  # it has ended
