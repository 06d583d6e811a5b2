"""A model in an instance, as the dashboard shows it."""

import statistics
from typing import Any

from polyhost.model_cache.model_copy import ModelCopy


def model_snapshot(copy: ModelCopy) -> dict[str, Any]:
    """Describe a copy in JSON. A warm invocation is one that no load preceded."""
    usage = copy.usage
    return {
        "name": copy.name,
        "key": copy.key,
        "state": copy.state,
        "loaded_at": copy.loaded_at,
        "last_used": copy.last_used,
        "in_flight": copy.in_flight,
        "calls": usage.invocations,
        "cold": usage.loads,
        "warm": max(0, usage.invocations - usage.loads),
        "errors": usage.errors,
        "memory": copy.memory_bytes,
        "load_ms": round(usage.load_ms, 1),
        "p50_ms": round(statistics.median(usage.latencies_ms), 2) if usage.latencies_ms else None,
        "latencies_ms": [round(value, 2) for value in usage.latencies_ms],
    }
