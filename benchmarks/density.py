"""How much memory the machine loses for each model that is loaded and has answered once."""

from benchmarks.bench import Bench, timed_first_answer
from benchmarks.memory import available_mb
from benchmarks.models import Kind


def density(bench: Bench, kind: Kind) -> dict[str, float]:
    body = bench.body(kind)
    count = bench.effort.density_copies(bench.server.stack.name)
    with bench.fresh(kind, count + 1) as models, bench.server.api() as api:
        first, *others = models
        timed_first_answer(api, first, body)  # what the server itself needs once is no model's
        before = available_mb()
        for copy in others:
            timed_first_answer(api, copy, body)
        lost = before - available_mb()
        for copy in models:
            api.unload(copy)
    return {"per_model_mb": lost / count, "models": count}
