"""A busy model whose archive asks for batches: what the native front end gives a worker at once goes through in one."""

import json

from benchmarks.bench import Bench
from benchmarks.load import Load
from benchmarks.models import Kind

CLIENTS = 8
SETTINGS = {"batch_size": CLIENTS}  # of those that wait anyway: no call waits for others


def batches(bench: Bench, kind: Kind) -> dict[str, float]:
    with bench.fresh(kind, 1) as (model,), bench.server.api() as api:
        (model.folder / "polyhost.json").write_text(json.dumps(SETTINGS))
        api.load(model)
        load = Load(bench.server, model, bench.shelf.body(kind), CLIENTS, bench.effort.seconds)
        load.warm_up()
        found = load.run()
        api.unload(model)
    return {"per_second": found.per_second, "p50_ms": found.p50_ms, "p99_ms": found.p99_ms}
