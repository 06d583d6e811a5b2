"""The p99 of a busy model while cold models are loaded, invoked and unloaded beside it."""

import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from benchmarks.client import MeasuringClient
from benchmarks.context import Context, timed_first_response
from benchmarks.load import LoadTest
from benchmarks.models import Copy, Kind

CLIENTS = 8


def churn(context: Context, kind: Kind) -> dict[str, float]:
    with context.fresh_copies(kind, 2) as (busy, cold), context.server.client() as client:
        client.load(busy)
        test = LoadTest(context.server, busy, context.shelf.body(kind), CLIENTS, context.effort.seconds)
        test.warm_up()
        quiet = test.run()
        generator = test.start()
        per_second = _load_and_unload(client, cold, context.body(kind), generator)
        churned = test.figures(generator)
        client.unload(busy)
    return {"quiet_p99_ms": quiet.p99_ms, "p99_ms": churned.p99_ms, "cold_per_second": per_second}


def _load_and_unload(client: MeasuringClient, model: Copy, body: bytes, generator: "subprocess.Popen[bytes]") -> float:
    """Load, invoke and unload one model after the other while the generator runs; return how many per second."""
    start = time.perf_counter()
    models = _under_new_names(model)
    completed = 0
    while generator.poll() is None:
        copy = next(models)
        timed_first_response(client, copy, body)
        client.unload(copy)
        completed += 1
    return completed / (time.perf_counter() - start)


def _under_new_names(model: Copy) -> Iterator[Copy]:
    """Yield the same folder under new names: to the server, a model of a new name is a new model."""
    return (replace(model, name=f"{model.name}n{number}") for number in count())
