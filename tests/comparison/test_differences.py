"""What is certain of two variants, and what is not."""

import pytest

from polyhost.comparison.differences import VariantComparison, compare, error_interval
from polyhost.comparison.errors import ComparisonError
from polyhost.comparison.measurements import MeasuredVariant

FAST, SLOW = tuple(range(10, 20)), tuple(range(20, 30))


def _compare(
    one: tuple[int, int, tuple[float, ...]],
    other: tuple[int, int, tuple[float, ...]],
    answers: tuple[int, int] | None = None,
) -> VariantComparison:
    return compare(MeasuredVariant("A", *one), MeasuredVariant("B", *other), answers, 0.95)


def test_fewer_errors_are_better_even_if_slower() -> None:
    found = _compare((1000, 100, FAST), (1000, 5, SLOW))
    assert (found.better, found.reason) == ("B", "fewer errors, though higher latency")
    assert found.errors.p_value is not None and found.errors.p_value < 1e-9
    assert _compare((1000, 100, SLOW), (1000, 5, FAST)).reason == "fewer errors, and lower latency"
    assert _compare((1000, 5, FAST), (1000, 100, FAST)).reason == "fewer errors"


def test_with_as_many_errors_the_lower_latency_is_better() -> None:
    found = _compare((1000, 3, FAST), (1000, 4, SLOW))
    assert (found.better, found.reason) == ("A", "lower latency, and no certain difference in errors")
    assert found.latency.values == (14.5, 24.5)


def test_a_small_difference_is_not_certain() -> None:
    found = _compare((100, 2, FAST), (100, 3, FAST))
    assert (found.better, found.reason) == (None, "no difference is certain")
    assert found.errors.p_value is not None and found.errors.p_value > 0.9


def test_too_few_calls_are_an_error_and_too_few_periods_a_note() -> None:
    with pytest.raises(ComparisonError, match="variant B has 19 calls in this time, and at least 20 are needed"):
        _compare((1000, 0, FAST), (19, 0, FAST))
    found = _compare((1000, 0, FAST), (1000, 0, FAST[:4]))
    assert found.latency.p_value is None
    assert found.latency.note.startswith("not compared: 4 periods with calls, of 5")
    assert found.better is None
    assert _compare((1000, 0, FAST), (1000, 0, ())).latency.values == (14.5, None)


def test_agreement_has_an_interval() -> None:
    found = _compare((1000, 0, FAST), (1000, 0, FAST), (90, 100)).agreement
    assert found is not None
    assert found.share == 0.9
    assert 0.82 < found.interval[0] < 0.83
    assert 0.94 < found.interval[1] < 0.95
    assert _compare((1000, 0, FAST), (1000, 0, FAST), (0, 0)).agreement is None


def test_an_error_rate_of_zero_still_has_an_interval() -> None:
    low, high = error_interval(MeasuredVariant("A", 100, 0, ()), 0.95)
    assert low == 0
    assert 0.03 < high < 0.04
