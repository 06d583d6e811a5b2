"""Calls that are drawn."""

from collections import Counter
from itertools import pairwise

import pytest

from polyhost.planning.calls import drawn, zipf_weights


def test_the_same_seed_gives_the_same_calls() -> None:
    weights = zipf_weights(["a", "b"], 1.0)
    assert list(drawn(weights, 5, 100, seed=1)) == list(drawn(weights, 5, 100, seed=1))
    assert list(drawn(weights, 5, 100, seed=1)) != list(drawn(weights, 5, 100, seed=2))


def test_as_many_as_the_rate_says_and_in_order() -> None:
    calls = list(drawn({"a": 1.0}, 50, 1_000, seed=1))
    assert len(calls) == pytest.approx(50_000, rel=0.03)
    assert all(one.time <= other.time for one, other in pairwise(calls))
    assert calls[-1].time < 1_000


def test_models_by_their_weights() -> None:
    counts = Counter(call.model for call in drawn(zipf_weights(["a", "b", "c"], 1.0), 100, 1_000, seed=1))
    assert counts["a"] / counts["b"] == pytest.approx(2, rel=0.05)
    assert counts["a"] / counts["c"] == pytest.approx(3, rel=0.05)


def test_exponent_0_is_all_alike() -> None:
    assert set(zipf_weights(["a", "b", "c"], 0.0).values()) == {1.0}
