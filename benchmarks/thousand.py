"""A thousand models at once, or two, each answering; the last must load about as fast as the first."""

from statistics import median

from benchmarks.api import Api
from benchmarks.bench import Bench, timed_first_answer
from benchmarks.memory import available_mb
from benchmarks.models import Copy, Kind

WARM_UP = 20
SAMPLE = 10


def thousand(bench: Bench, kind: Kind) -> dict[str, float]:
    body = bench.body(kind)
    count = bench.effort.thousand_models(bench.server.stack.name)
    with bench.fresh(kind, WARM_UP + count) as models, bench.server.api() as api:
        _warm_up(api, models[:WARM_UP], body)
        before = available_mb()
        times = [timed_first_answer(api, copy, body)[1] for copy in models[WARM_UP:]]
        lost = before - available_mb()
        for copy in models[WARM_UP:]:
            api.invoke(copy, body)  # raises where one does not answer any more
    return {
        "models": count,
        "per_model_mb": lost / count,
        "first_ten_ms": median(times[:SAMPLE]),
        "last_ten_ms": median(times[-SAMPLE:]),
    }


def _warm_up(api: Api, models: list[Copy], body: bytes) -> None:
    """Java compiles what it sees often; without this the first ten would be the slowest."""
    for copy in models:
        timed_first_answer(api, copy, body)
        api.unload(copy)
