"""A busy model whose archive asks for batches: invocations that wait together go through the model together."""

import json

from benchmarks.context import Context
from benchmarks.load import LoadTest
from benchmarks.models import Kind

CLIENTS = 8
SETTINGS = {"batch_size": CLIENTS}  # without a delay: no invocation waits for others to join it


def batches(context: Context, kind: Kind) -> dict[str, float]:
    with context.fresh_copies(kind, 1) as (model,), context.server.client() as client:
        (model.folder / "polyhost.json").write_text(json.dumps(SETTINGS))
        client.load(model)
        test = LoadTest(context.server, model, context.shelf.body(kind), CLIENTS, context.effort.seconds)
        test.warm_up()
        found = test.run()
        client.unload(model)
    return {"per_second": found.per_second, "p50_ms": found.p50_ms, "p99_ms": found.p99_ms}
