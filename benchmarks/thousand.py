"""A thousand models at once, or two thousand, all responding; the last must load about as fast as the first."""

from statistics import median

from benchmarks.available_memory import available_mb
from benchmarks.client import MeasuringClient
from benchmarks.context import Context, timed_first_response
from benchmarks.models import Copy, Kind

WARM_UP = 20
SAMPLE = 10


def thousand(context: Context, kind: Kind) -> dict[str, float]:
    body = context.body(kind)
    count = context.effort.thousand_models(context.server.stack.name)
    with context.fresh_copies(kind, WARM_UP + count) as models, context.server.client() as client:
        _warm_up(client, models[:WARM_UP], body)
        before = available_mb()
        times = [timed_first_response(client, copy, body)[1] for copy in models[WARM_UP:]]
        lost = before - available_mb()
        for copy in models[WARM_UP:]:
            client.invoke(copy, body)  # raises if one has stopped responding
    return {
        "models": count,
        "per_model_mb": lost / count,
        "first_ten_ms": median(times[:SAMPLE]),
        "last_ten_ms": median(times[-SAMPLE:]),
    }


def _warm_up(client: MeasuringClient, models: list[Copy], body: bytes) -> None:
    """Load and unload some models: Java compiles what runs often, so the first ten would be the slowest."""
    for copy in models:
        timed_first_response(client, copy, body)
        client.unload(copy)
