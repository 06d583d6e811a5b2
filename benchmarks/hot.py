"""Requests per second and their latency, for one loaded model that one client or eight keep busy."""

from benchmarks.context import Context
from benchmarks.load import LoadTest
from benchmarks.models import Kind

CLIENTS = (1, 8)


def hot(context: Context, kind: Kind) -> dict[str, float]:
    figures: dict[str, float] = {}
    with context.fresh_copies(kind, 1) as (model,), context.server.client() as client:
        client.load(model)
        for clients in CLIENTS:
            test = LoadTest(context.server, model, context.shelf.body(kind), clients, context.effort.seconds)
            test.warm_up()
            found = test.run()
            figures[f"{clients}_clients_per_second"] = found.per_second
            figures[f"{clients}_clients_p50_ms"] = found.p50_ms
            figures[f"{clients}_clients_p99_ms"] = found.p99_ms
        client.unload(model)
    return figures
