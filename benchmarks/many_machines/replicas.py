"""polyhosts that share a store, each with a disk of its own that has room for some of the models."""

import os
import signal
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.many_machines.models import REPLICA
from benchmarks.servers import BenchServer, native, running

_COUNTERS = ("polyhost_target_hits_total", "polyhost_target_misses_total", "polyhost_evictions_total")


@dataclass(frozen=True)
class Replica:
    """A container that runs."""

    name: str
    server: BenchServer

    @property
    def port(self) -> int:
        return self.server.port

    def counters(self) -> dict[str, float]:
        """Return what /metrics says of hits, misses and evictions, all reasons together."""
        totals = self.totals()
        return {name: totals[name] for name in _COUNTERS}

    def totals(self) -> dict[str, float]:
        """Return the values of /metrics by name, those of all labels together; 0 for a name without any."""
        text = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=120, trust_env=False).text
        found: dict[str, float] = defaultdict(float)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name] += sample.value
        return found

    def processor_seconds(self) -> float:
        """Return what its processes have used, with those that have ended and were waited for."""
        total = 0.0
        for pid in self.server.process.processes():
            try:
                total += sum(psutil.Process(pid).cpu_times()[:4])
            except psutil.NoSuchProcess:
                pass
        return total

    def kill(self) -> None:
        """End it as a machine that fails does: what answers clients first, so that nothing ends in order."""
        for pid in self.server.process.processes():
            if _listens(pid):
                os.kill(pid, signal.SIGKILL)
        self.server.process.kill()


def _listens(pid: int) -> bool:
    try:
        return any(used.status == psutil.CONN_LISTEN for used in psutil.Process(pid).net_connections("tcp"))
    except psutil.NoSuchProcess:  # a worker that has ended meanwhile
        return False


@contextmanager
def replica(name: str, store: Path, folder: Path, room_mb: int) -> Iterator[Replica]:
    """Run one container with nothing on its disk."""
    settings = {
        "SAGEMAKER_MULTI_MODEL": "",
        "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
        "POLYHOST_HOST": "127.0.0.1",
        "POLYHOST_MODEL_STORE": str(store),
        "POLYHOST_STATE_DIR": str(folder),
        "POLYHOST_STORE_CHECK_SECONDS": "0",
        "POLYHOST_UNPACK_MB": str(room_mb),
        "POLYHOST_ZYGOTES": "bare",
        REPLICA: name,
    }
    with running(native(**settings)) as server:
        yield Replica(name, server)


@contextmanager
def replicas(names: Sequence[str], store: Path, folder: Path, room_mb: int) -> Iterator[list[Replica]]:
    """Run several."""
    with ExitStack() as stack:
        yield [stack.enter_context(replica(name, store, folder / name, room_mb)) for name in names]


def ports(running_replicas: Sequence[Replica]) -> Mapping[str, int]:
    """Return what a proxy needs to know of them."""
    return {one.name: one.port for one in running_replicas}
