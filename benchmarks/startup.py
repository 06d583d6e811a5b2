"""From the start of the server's process to its first 200 on /ping, and to the first answer of a first model."""

import time

from benchmarks.bench import Bench, timed_first_answer
from benchmarks.models import Kind


def startup(bench: Bench, kind: Kind) -> dict[str, float]:
    """Of a server that has just answered its first /ping."""
    ping = time.perf_counter()
    # The platform has unpacked the archive before; making the copy is not the server's time.
    with bench.fresh(kind, 1) as (model,), bench.server.api() as api:
        copied = time.perf_counter() - ping
        timed_first_answer(api, model, bench.body(kind))
        answer = time.perf_counter() - bench.server.started - copied
    return {"ping_ms": (ping - bench.server.started) * 1000, "first_answer_ms": answer * 1000}
