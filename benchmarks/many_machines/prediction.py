"""What the simulation of `polyhost plan` says of the calls of a run, to be printed beside what was measured.

A replica's disk is what limits it here, so in the plan a model takes its size on the disk, and each load fetches it
again. The replicas share this machine's cores, and what Envoy and HTTP take is left out.
"""

import os
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from benchmarks.many_machines.calls import scheduled
from polyhost.planning.calls import PlannedCall
from polyhost.planning.outcome import PlanOutcome
from polyhost.planning.profiles import ModelProfile, PartialProfile, Profiles
from polyhost.planning.simulation import simulate

_PLACEMENTS = 3  # of models on replicas, by chance: Envoy's is another one
_BALANCE_FACTOR = 2.0  # hash_balance_factor of deploy/envoy/replicas.yaml
_APART_S = 3600.0  # between the phases, and between calls that are made one after the other


def profile(totals: Mapping[str, float], model_bytes: int) -> ModelProfile:
    """Return what a model takes by what the replicas have measured until now, all of them together."""

    def mean(seconds: str, count: str) -> float:
        return totals[seconds] / totals[count]

    load_s = mean("polyhost_store_load_seconds_total", "polyhost_store_loads_total")
    fetch_s = mean("polyhost_download_seconds_total", "polyhost_downloads_total")
    hot_s = mean("polyhost_predict_seconds_sum", "polyhost_predict_seconds_count")
    return ModelProfile(model_bytes, load_s + fetch_s, hot_s)


def timetable(
    names: Sequence[str], warm_up: Sequence[str], counted: Sequence[str], rate: float, seeds: tuple[int, int]
) -> tuple[list[PlannedCall], float]:
    """Return the calls as the run makes them: each model once, the warm-up, those that count; and when these begin."""
    once = [PlannedCall(number * _APART_S, name) for number, name in enumerate(names)]
    began = len(once) * _APART_S
    first = _paced(warm_up, rate, seeds[0], began)
    counted_from = began + (first[-1].time - began if first else 0.0) + _APART_S
    return [*once, *first, *_paced(counted, rate, seeds[1], counted_from)], counted_from


def predict(
    calls: Sequence[PlannedCall],
    counted_from: float,
    model: ModelProfile,
    *,
    replicas: int,
    room_bytes: int,
    round_robin: bool,
) -> dict[str, Any]:
    """Simulate the calls, and return the figures that the run has, too; the worst of several placements."""
    profiles = Profiles((), PartialProfile(model.memory_bytes, model.cold_s, model.hot_s, 0.0))
    limits = {"memory_bytes": room_bytes, "cores": max(1, round((os.cpu_count() or 1) / replicas))}
    if round_robin:  # each replica on its own, with every n-th call
        parts = [
            simulate(calls[number::replicas], profiles, machines=1, warm_up_s=counted_from, **limits)
            for number in range(replicas)
        ]
        return _figures(parts, sum(part.evictions for part in parts), model)
    parts = [
        simulate(
            calls,
            profiles,
            machines=replicas,
            placement=placement,
            balance_factor=_BALANCE_FACTOR,
            warm_up_s=counted_from,
            **limits,
        )
        for placement in range(_PLACEMENTS)
    ]
    worst = PlanOutcome.worst(parts)
    return _figures([worst], worst.evictions, model)


def _paced(names: Sequence[str], rate: float, seed: int, start: float) -> list[PlannedCall]:
    times = accumulate(scheduled(len(names), rate, seed), initial=start)
    next(times)
    return [PlannedCall(time, name) for time, name in zip(times, names, strict=True)]


def _figures(parts: Sequence[PlanOutcome], evictions: int, model: ModelProfile) -> dict[str, Any]:
    counted = sum(part.calls for part in parts)
    return {
        "hit_rate": round(sum(part.hit_rate * part.calls for part in parts) / counted, 4),
        "evictions": evictions,
        "p50_ms": round(max(part.p50_s for part in parts) * 1e3, 1),
        "p99_ms": round(max(part.p99_s for part in parts) * 1e3, 1),
        "of_cold_ms": round(model.cold_s * 1e3, 1),
        "of_hot_ms": round(model.hot_s * 1e3, 1),
    }
