"""From the start of the server's process to its first 200 on /ping, and to the first answer of a first model."""

import time
from statistics import median

from benchmarks.bench import Bench, timed_first_answer
from benchmarks.effort import Effort
from benchmarks.models import Kind, Shelf
from benchmarks.servers import Stack, running


def startup(stack: Stack, shelf: Shelf, kind: Kind, effort: Effort) -> dict[str, float]:
    pings, answers = zip(*(_start(stack, shelf, kind, effort) for _ in range(effort.starts)), strict=True)
    return {"ping_ms": median(pings), "first_answer_ms": median(answers)}


def _start(stack: Stack, shelf: Shelf, kind: Kind, effort: Effort) -> tuple[float, float]:
    with running(stack) as server:
        ping = time.perf_counter() - server.started
        bench = Bench(server, shelf, effort)
        # The platform has unpacked the archive before; making the copy is not the server's time.
        start = time.perf_counter()
        with bench.fresh(kind, 1) as (model,), server.api() as api:
            copied = time.perf_counter() - start
            timed_first_answer(api, model, bench.body(kind))
            answer = time.perf_counter() - server.started - copied
        return ping * 1000, answer * 1000
