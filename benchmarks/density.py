"""How much available memory the machine loses for each model that is loaded and has responded once."""

from benchmarks.available_memory import available_mb
from benchmarks.context import Context, timed_first_response
from benchmarks.models import Kind


def density(context: Context, kind: Kind) -> dict[str, float]:
    body = context.body(kind)
    count = context.effort.density_copies(context.server.stack.name)
    with context.fresh_copies(kind, count + 1) as models, context.server.client() as client:
        first, *others = models
        timed_first_response(client, first, body)  # what the server itself needs once counts for no model
        before = available_mb()
        for copy in others:
            timed_first_response(client, copy, body)
        lost = before - available_mb()
        for copy in models:
            client.unload(copy)
    return {"per_model_mb": lost / count, "models": count}
