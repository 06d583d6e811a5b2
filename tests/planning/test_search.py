"""The fewest machines."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from polyhost.planning.outcome import PlanOutcome
from polyhost.planning.search import PlanTarget, fewest

OUTCOME = PlanOutcome(1, 1, 1.0, 0.0, 0, 0, 0.0, 0.0, 0.0, 1.0, 0.0)


@given(st.integers(1, 200), st.integers(1, 100))
def test_finds_the_smallest_number_that_is_enough(needed: int, maximum: int) -> None:
    tried = []

    def simulate(count: int) -> PlanOutcome:
        tried.append(count)
        return replace(OUTCOME, machines=count, p99_s=0.1 if count >= needed else 1.0)

    found, enough = fewest(simulate, PlanTarget(p99_s=0.5), maximum)
    assert (found.machines, enough) == ((needed, True) if needed <= maximum else (maximum, False))
    assert len(tried) == len(set(tried)) <= 16


def test_both_wishes_count() -> None:
    outcome = replace(OUTCOME, p99_s=0.2, cold_share=0.02)
    assert PlanTarget().is_met_by(outcome)
    assert PlanTarget(p99_s=0.2, cold_share=0.02).is_met_by(outcome)
    assert not PlanTarget(p99_s=0.1, cold_share=0.02).is_met_by(outcome)
    assert not PlanTarget(p99_s=0.2, cold_share=0.01).is_met_by(outcome)
