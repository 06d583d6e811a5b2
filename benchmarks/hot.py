"""Requests a second, and how long they take, for one loaded model that one client or eight keep busy."""

from benchmarks.bench import Bench
from benchmarks.load import Load
from benchmarks.models import Kind

CLIENTS = (1, 8)


def hot(bench: Bench, kind: Kind) -> dict[str, float]:
    figures: dict[str, float] = {}
    with bench.fresh(kind, 1) as (model,), bench.server.api() as api:
        api.load(model)
        for clients in CLIENTS:
            load = Load(bench.server, model, bench.shelf.body(kind), clients, bench.effort.seconds)
            load.warm_up()
            found = load.run()
            figures[f"{clients}_clients_per_second"] = found.per_second
            figures[f"{clients}_clients_p50_ms"] = found.p50_ms
            figures[f"{clients}_clients_p99_ms"] = found.p99_ms
        api.unload(model)
    return figures
