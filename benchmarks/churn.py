"""What a busy model feels of others that come and go: its p99 while cold models are loaded, asked and unloaded."""

import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from benchmarks.api import Api
from benchmarks.bench import Bench, timed_first_answer
from benchmarks.load import Load
from benchmarks.models import Copy, Kind

CLIENTS = 8


def churn(bench: Bench, kind: Kind) -> dict[str, float]:
    with bench.fresh(kind, 2) as (busy, cold), bench.server.api() as api:
        api.load(busy)
        load = Load(bench.server, busy, bench.shelf.body(kind), CLIENTS, bench.effort.seconds)
        load.warm_up()
        quiet = load.run()
        generator = load.start()
        per_second = _come_and_go(api, cold, bench.body(kind), generator)
        churned = load.figures(generator)
        api.unload(busy)
    return {"quiet_p99_ms": quiet.p99_ms, "p99_ms": churned.p99_ms, "cold_per_second": per_second}


def _come_and_go(api: Api, model: Copy, body: bytes, until_end_of: "subprocess.Popen[bytes]") -> float:
    """Cold models a second, one after the other."""
    start = time.perf_counter()
    models = _under_new_names(model)
    gone = 0
    while until_end_of.poll() is None:
        copy = next(models)
        timed_first_answer(api, copy, body)
        api.unload(copy)
        gone += 1
    return gone / (time.perf_counter() - start)


def _under_new_names(model: Copy) -> Iterator[Copy]:
    """One folder is enough: to the server, a model of a new name is a new model."""
    return (replace(model, name=f"{model.name}n{number}") for number in count())
