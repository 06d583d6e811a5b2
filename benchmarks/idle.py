"""What a busy model's clients notice of a thousand open connections that send nothing."""

import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import mean

from benchmarks.context import Context
from benchmarks.load import LoadTest
from benchmarks.models import Kind
from benchmarks.servers import BenchServer

CLIENTS = 8
_SPARE_FILES = 200


def idle(context: Context, kind: Kind) -> dict[str, float]:
    """Measure without, with, with, without the connections, so that a drift of the machine affects both alike."""
    with context.fresh_copies(kind, 1) as (model,), context.server.client() as client:
        client.load(model)
        test = LoadTest(context.server, model, context.shelf.body(kind), CLIENTS, context.effort.seconds)
        test.warm_up()
        without = [test.run()]
        with _idle_connections(context.server, context.effort.idle_connections):
            beside = [test.run(), test.run()]
        without.append(test.run())
        client.unload(model)
    return {
        "connections": context.effort.idle_connections,
        "without_per_second": mean(found.per_second for found in without),
        "per_second": mean(found.per_second for found in beside),
        "without_p99_ms": mean(found.p99_ms for found in without),
        "p99_ms": mean(found.p99_ms for found in beside),
    }


@contextmanager
def _idle_connections(server: BenchServer, count: int) -> Iterator[None]:
    """Open connections, and send one request on each: then the server has accepted it, not only the kernel."""
    _allow_files(count + _SPARE_FILES)
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(server.client()).ping()
        yield


def _allow_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
