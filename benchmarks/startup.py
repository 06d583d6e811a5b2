"""From the start of the server's process to its first 200 on /ping, and to the first response of a first model."""

import time

from benchmarks.context import Context, timed_first_response
from benchmarks.models import Kind


def startup(context: Context, kind: Kind) -> dict[str, float]:
    """Measure a server that has just answered its first /ping."""
    ping = time.perf_counter()
    # Making the copy does not count: the platform has unpacked the archive by then.
    with context.fresh_copies(kind, 1) as (model,), context.server.client() as client:
        copied = time.perf_counter() - ping
        timed_first_response(client, model, context.body(kind))
        response = time.perf_counter() - context.server.started - copied
    return {"ping_ms": (ping - context.server.started) * 1000, "first_response_ms": response * 1000}
