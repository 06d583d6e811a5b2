"""What came of a simulated load."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class PlanOutcome:
    """The figures of one simulation.

    `hit_rate`: calls that found their model loaded; `cold_share`: the others, which waited for a load. `loads`: such
    waits share a load, so they are fewer than the cold calls. Seconds: from a call's arrival to its response.
    """

    machines: int
    calls: int
    hit_rate: float
    cold_share: float
    loads: int
    evictions: int
    mean_s: float
    p50_s: float
    p99_s: float
    busiest_share: float  # of all calls, at the machine that got most
    utilization: float  # of all cores

    @classmethod
    def of(
        cls,
        *,
        latencies: Sequence[float],
        cold: int,
        loads: int,
        evictions: int,
        calls_by_machine: Sequence[int],
        utilization: float,
    ) -> "PlanOutcome":
        """Compute the figures; there is at least one latency."""
        count = len(latencies)
        ordered = sorted(latencies)
        return cls(
            machines=len(calls_by_machine),
            calls=count,
            hit_rate=1 - cold / count,
            cold_share=cold / count,
            loads=loads,
            evictions=evictions,
            mean_s=math.fsum(ordered) / count,
            p50_s=quantile(ordered, 0.5),
            p99_s=quantile(ordered, 0.99),
            busiest_share=max(calls_by_machine) / sum(calls_by_machine),
            utilization=utilization,
        )

    @classmethod
    def worst(cls, outcomes: Iterable["PlanOutcome"]) -> "PlanOutcome":
        """Return the worst of each figure."""
        found = list(outcomes)
        figures = {item.name: max(getattr(one, item.name) for one in found) for item in fields(cls)}
        return cls(**{**figures, "hit_rate": min(one.hit_rate for one in found)})


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value that this share of the values does not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
