"""The simulation beside what can be computed: known formulas, and cases small enough for paper."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyhost.planning.calls import PlannedCall, drawn, zipf_weights
from polyhost.planning.errors import ModelTooLargeError, PlanningError
from polyhost.planning.outcome import PlanOutcome, quantile
from polyhost.planning.profiles import PartialProfile, Profiles
from polyhost.planning.simulation import simulate

ROOMY = 1 << 40


def profiles(memory: int = 1, cold: float = 0.0, hot: float = 0.0) -> Profiles:
    return Profiles((), PartialProfile(memory, cold, hot))


def run(
    calls: Sequence[PlannedCall],
    needs: Profiles,
    *,
    memory: int = ROOMY,
    cores: int = 1,
    machines: int = 1,
    balance: float | None = None,
    warm_up: float = 0.0,
) -> PlanOutcome:
    return simulate(
        calls,
        needs,
        memory_bytes=memory,
        cores=cores,
        machines=machines,
        balance_factor=balance,
        warm_up_s=warm_up,
    )


def names(count: int) -> list[str]:
    return [f"m{number}" for number in range(count)]


# Formulas


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0.1, 3)), min_size=1, max_size=40))
def test_one_core_waits_as_lindley_says(steps: list[tuple[float, float]]) -> None:
    """The wait of the next call: that of this one and its time, less the time between them, if that is positive."""
    time, wait, between_before, expected, calls, needs = 0.0, 0.0, 0.0, [], [], {}
    for number, (between, seconds) in enumerate(steps):
        time += between
        wait = max(0.0, wait + between_before - between) if number else 0.0
        expected.append(wait + seconds)
        between_before = seconds
        calls.append(PlannedCall(time, f"m{number}"))
        needs[f"m{number}"] = PartialProfile(0, 0.0, seconds)
    outcome = run(calls, Profiles((needs,), PartialProfile()))
    assert outcome.mean_s == pytest.approx(sum(expected) / len(expected))
    assert outcome.p99_s == pytest.approx(quantile(sorted(expected), 0.99))


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_independent_calls_of_equal_length_wait_as_pollaczek_and_khinchine_say(load: float) -> None:
    """M/D/1: the mean wait is load / (2 (1 - load)) of a call's time."""
    calls = list(drawn({"m": 1.0}, load, 100_000, seed=3))
    outcome = run(calls, profiles(hot=1.0))
    assert outcome.mean_s - 1 == pytest.approx(load / (2 * (1 - load)), rel=0.05)
    assert outcome.utilization == pytest.approx(load, rel=0.02)


def test_models_called_alike_hit_as_often_as_there_is_room() -> None:
    calls = list(drawn(dict.fromkeys(names(100), 1.0), 10, 5_000, seed=5))
    outcome = run(calls, profiles(), memory=40, warm_up=500)
    assert outcome.hit_rate == pytest.approx(0.4, abs=0.01)


def test_zipf_hits_as_often_as_che_says() -> None:
    """A model is there if it was called in the last T seconds, T being such that the memory is just full of those."""
    weights = zipf_weights(names(300), 1.0)
    total = sum(weights.values())
    rates = [weight / total for weight in weights.values()]
    room = 60
    low, high = 0.0, 1e6
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if sum(1 - math.exp(-rate * middle) for rate in rates) < room else (low, middle)
    expected = sum(rate * (1 - math.exp(-rate * low)) for rate in rates)
    outcome = run(list(drawn(weights, 1, 60_000, seed=9)), profiles(), memory=room, warm_up=5_000)
    assert outcome.hit_rate == pytest.approx(expected, abs=0.01)


# Cases for paper


def test_calls_to_a_model_that_is_being_loaded_wait_for_that_load_without_a_core() -> None:
    calls = [PlannedCall(0.0, "a"), PlannedCall(1.0, "a"), PlannedCall(2.0, "b"), PlannedCall(30.0, "a")]
    outcome = run(calls, profiles(cold=10.0, hot=1.0), cores=2)
    # Core 1 loads a from 0 to 10, core 2 b from 2 to 12. The two calls to a follow on core 1, and at 12 b's.
    assert (outcome.loads, outcome.cold_share, outcome.hit_rate) == (2, 0.75, 0.25)
    assert outcome.mean_s == pytest.approx(((11 - 0) + (12 - 1) + (13 - 2) + 1) / 4)
    assert outcome.p50_s == pytest.approx(11.0)
    assert outcome.p99_s == pytest.approx(11.0)


def test_a_model_is_fetched_once_by_each_machine_and_that_takes_no_core() -> None:
    needs = Profiles((), PartialProfile(memory_bytes=1, cold_s=2.0, hot_s=1.0, download_s=10.0))
    both = run([PlannedCall(0.0, "a"), PlannedCall(1.0, "b")], needs, cores=2)
    assert (both.p50_s, both.p99_s, both.loads) == (13.0, 13.0, 2)
    # One core: b's load, which may begin at 11, comes before a's call, which may begin at 12.
    assert run([PlannedCall(0.0, "a"), PlannedCall(1.0, "b")], needs).mean_s == 15.0
    from_disk = run([PlannedCall(0.0, "a"), PlannedCall(100.0, "b"), PlannedCall(200.0, "a")], needs, memory=1)
    assert from_disk.mean_s == pytest.approx((13 + 13 + 3) / 3)


def test_a_model_that_is_evicted_while_it_is_fetched_is_not_fetched_again() -> None:
    needs = Profiles((), PartialProfile(memory_bytes=1, cold_s=2.0, hot_s=1.0, download_s=10.0))
    outcome = run([PlannedCall(0.0, "a"), PlannedCall(1.0, "b"), PlannedCall(2.0, "a")], needs, memory=1, cores=3)
    assert (outcome.loads, outcome.evictions) == (3, 2)
    assert outcome.mean_s == pytest.approx((13 + 13 + 11) / 3)


def test_what_does_not_fit_evicts() -> None:
    calls = [PlannedCall(float(10 * number), model) for number, model in enumerate("abcab")]
    outcome = run(calls, profiles(memory=4, cold=1.0, hot=1.0), memory=8)
    assert (outcome.loads, outcome.evictions, outcome.mean_s) == (5, 3, 2.0)
    assert run(calls, profiles(memory=4, cold=1.0, hot=1.0), memory=12).loads == 3


def test_calls_of_the_warm_up_fill_the_memory_and_do_not_count() -> None:
    calls = [
        PlannedCall(0.0, "a"),
        PlannedCall(1.0, "b"),
        PlannedCall(10.0, "a"),
        PlannedCall(11.0, "b"),
        PlannedCall(12.0, "c"),
    ]
    outcome = run(calls, profiles(cold=0.5), memory=2, warm_up=5.0)
    assert (outcome.calls, outcome.loads, outcome.evictions) == (3, 1, 1)
    with pytest.raises(PlanningError, match="no calls after the warm-up of 100 s"):
        run(calls, profiles(), warm_up=100.0)


def test_each_model_has_its_machine() -> None:
    calls = list(drawn(dict.fromkeys(names(200), 1.0), 10, 1_000, seed=2))
    outcome = run(calls, profiles(cold=0.1), machines=4)
    assert outcome.loads == 200
    assert outcome.busiest_share < 0.35


def test_bounded_load_spreads_a_hot_model() -> None:
    calls = list(drawn({"hot": 1.0}, 3, 1_000, seed=2))
    alone = run(calls, profiles(hot=1.0), machines=4)
    bounded = run(calls, profiles(hot=1.0), machines=4, balance=1.25)
    assert (alone.busiest_share, alone.loads) == (1.0, 1)
    assert bounded.busiest_share < 0.5
    assert bounded.loads == 4
    assert bounded.p99_s < alone.p99_s / 10


def test_two_machines_of_half_the_memory_hold_as_much_as_one() -> None:
    calls = list(drawn(zipf_weights(names(100), 1.0), 10, 3_000, seed=4))
    one = run(calls, profiles(), memory=40, machines=1, warm_up=300)
    two = run(calls, profiles(), memory=20, machines=2, warm_up=300)
    assert two.hit_rate == pytest.approx(one.hit_rate, abs=0.03)


def test_a_model_larger_than_the_machine_is_named() -> None:
    with pytest.raises(ModelTooLargeError, match=r"model 'big' takes 2 MB, and the machine has 1 MB for models"):
        run([PlannedCall(0.0, "big")], profiles(memory=2 << 20), memory=1 << 20)


@given(st.lists(st.tuples(st.floats(0, 100), st.sampled_from("abcdef")), min_size=1, max_size=60), st.integers(1, 4))
def test_whatever_comes_each_call_ends_and_none_is_faster_than_hot(load: list[tuple[float, str]], cores: int) -> None:
    calls = sorted(PlannedCall(*one) for one in load)
    needs = profiles(memory=1, cold=2.0, hot=0.5)
    outcome = run(calls, needs, memory=3, cores=cores, machines=2, balance=1.5)
    assert outcome.calls == len(calls)
    assert outcome.p50_s >= 0.5
    assert outcome.loads <= round(outcome.cold_share * len(calls))
    assert run(calls, needs, memory=3, cores=cores, machines=2, balance=1.5) == outcome
