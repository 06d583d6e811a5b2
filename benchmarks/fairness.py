"""The p99 of a model with one client while many clients flood another model."""

from dataclasses import replace

from benchmarks.context import Context
from benchmarks.load import WARM_UP_S, LoadTest
from benchmarks.models import Kind

FLOOD_CLIENTS = 64


def fairness(context: Context, kind: Kind) -> dict[str, float]:
    with context.fresh_copies(kind, 2) as (quiet, flooded), context.server.client() as client:
        for copy in (quiet, flooded):
            client.load(copy)
        test = LoadTest(context.server, quiet, context.shelf.body(kind), 1, context.effort.seconds)
        test.warm_up()
        alone = test.run()
        # Longer, so that it neither begins nor ends during the measurement.
        flood = replace(test, copy=flooded, clients=FLOOD_CLIENTS, seconds=context.effort.seconds + WARM_UP_S)
        flood.warm_up()
        generator = flood.start()
        beside = test.run()
        flood_figures = flood.figures(generator)
        for copy in (quiet, flooded):
            client.unload(copy)
    return {"alone_p99_ms": alone.p99_ms, "p99_ms": beside.p99_ms, "flood_per_second": flood_figures.per_second}
