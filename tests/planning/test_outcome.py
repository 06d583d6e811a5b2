"""Figures of simulations."""

from dataclasses import replace

import pytest

from polyhost.planning.outcome import PlanOutcome, quantile

OUTCOME = PlanOutcome(2, 10, 0.9, 0.1, 1, 0, 0.1, 0.1, 0.2, 0.5, 0.3)


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.2, 1), (0.21, 2), (0.5, 3), (0.99, 5), (1.0, 5)])
def test_quantiles_are_values_by_their_rank(share: float, value: float) -> None:
    assert quantile([1, 2, 3, 4, 5], share) == value


def test_the_worst_of_each_figure() -> None:
    other = replace(OUTCOME, hit_rate=0.8, cold_share=0.2, p99_s=0.1, evictions=7)
    assert PlanOutcome.worst([OUTCOME, other]) == replace(OUTCOME, hit_rate=0.8, cold_share=0.2, evictions=7)
