"""What a busy model's clients feel of a thousand connections that are open and say nothing."""

import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import mean

from benchmarks.bench import Bench
from benchmarks.load import Load
from benchmarks.models import Kind
from benchmarks.servers import Server

CLIENTS = 8
_SPARE_FILES = 200


def idle(bench: Bench, kind: Kind) -> dict[str, float]:
    """Without them, with, with, without: what drifts on the machine meanwhile meets both alike."""
    with bench.fresh(kind, 1) as (model,), bench.server.api() as api:
        api.load(model)
        load = Load(bench.server, model, bench.shelf.body(kind), CLIENTS, bench.effort.seconds)
        load.warm_up()
        without = [load.run()]
        with _connections(bench.server, bench.effort.idle_connections):
            beside = [load.run(), load.run()]
        without.append(load.run())
        api.unload(model)
    return {
        "connections": bench.effort.idle_connections,
        "without_per_second": mean(found.per_second for found in without),
        "per_second": mean(found.per_second for found in beside),
        "without_p99_ms": mean(found.p99_ms for found in without),
        "p99_ms": mean(found.p99_ms for found in beside),
    }


@contextmanager
def _connections(server: Server, count: int) -> Iterator[None]:
    """Each has been answered once: the server has taken it, not only the kernel."""
    _allow_files(count + _SPARE_FILES)
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(server.api()).ping()
        yield


def _allow_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
