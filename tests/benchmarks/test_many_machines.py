"""The plan's prediction beside the benchmark of many machines, without machines."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.many_machines.calls import zipf
from benchmarks.many_machines.models import make_store, unpacked_bytes
from benchmarks.many_machines.prediction import predict, profile, timetable
from polyhost.planning.profiles import ModelProfile

NAMES = [f"m{number}.tar.gz" for number in range(60)]
MODEL = ModelProfile(memory_bytes=100, cold_s=0.1, hot_s=0.002)
WARM_UP, COUNTED = zipf(NAMES, 300, seed=1), zipf(NAMES, 900, seed=2)


def planned(room: int, *, round_robin: bool) -> dict[str, Any]:
    calls, counted_from = timetable(NAMES, WARM_UP, COUNTED, 15.0, (1, 2))
    return predict(calls, counted_from, MODEL, replicas=3, room_bytes=room * 100, round_robin=round_robin)


def test_the_timetable_is_that_of_the_run() -> None:
    calls, counted_from = timetable(NAMES, WARM_UP, COUNTED, 15.0, (1, 2))
    assert [call.model for call in calls] == [*NAMES, *WARM_UP, *COUNTED]
    assert sorted(calls, key=lambda call: call.time) == calls
    assert sum(call.time >= counted_from for call in calls) == len(COUNTED)
    assert calls[-1].time - counted_from == pytest.approx(60, rel=0.2)


def test_a_replica_with_room_for_its_share_evicts_nothing() -> None:
    found = planned(40, round_robin=False)
    assert (found["hit_rate"], found["evictions"], found["p50_ms"]) == (1.0, 0, 2.0)


def test_round_robin_needs_room_for_all_models_on_each_replica() -> None:
    found = planned(40, round_robin=True)
    assert found["hit_rate"] < 0.95 and found["evictions"] > 0 and found["p99_ms"] > 100
    assert planned(60, round_robin=True)["evictions"] == 0


def test_a_models_times_are_means_of_all_replicas() -> None:
    totals = {
        "polyhost_store_load_seconds_total": 3.0,
        "polyhost_store_loads_total": 10.0,
        "polyhost_download_seconds_total": 2.0,
        "polyhost_downloads_total": 20.0,
        "polyhost_predict_seconds_sum": 1.0,
        "polyhost_predict_seconds_count": 500.0,
    }
    found = profile(totals, 7)
    assert (found.memory_bytes, found.hot_s) == (7, 0.002)
    assert found.cold_s == pytest.approx(0.4)


def test_the_size_of_a_model_is_that_of_its_files(tmp_path: Path) -> None:
    (name,) = make_store(tmp_path, 1, padding_bytes=1000)
    assert 1000 < unpacked_bytes(tmp_path / name) < 2000
