"""What a model with one client feels of another that many clients flood."""

from dataclasses import replace

from benchmarks.bench import Bench
from benchmarks.load import WARM_UP_S, Load
from benchmarks.models import Kind

FLOOD = 64


def fairness(bench: Bench, kind: Kind) -> dict[str, float]:
    with bench.fresh(kind, 2) as (quiet, flooded), bench.server.api() as api:
        for copy in (quiet, flooded):
            api.load(copy)
        load = Load(bench.server, quiet, bench.shelf.body(kind), 1, bench.effort.seconds)
        load.warm_up()
        alone = load.run()
        # It goes on for longer, so that it neither begins nor ends within what is measured.
        flood = replace(load, copy=flooded, clients=FLOOD, seconds=bench.effort.seconds + WARM_UP_S)
        flood.warm_up()
        generator = flood.start()
        beside = load.run()
        others = flood.figures(generator)
        for copy in (quiet, flooded):
            api.unload(copy)
    return {"alone_p99_ms": alone.p99_ms, "p99_ms": beside.p99_ms, "flood_per_second": others.per_second}
