"""Two variants beside each other: what differs, and how certain that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from scipy import stats

from polyhost.comparison.errors import ComparisonError
from polyhost.comparison.measurements import MeasuredVariant

LEAST_CALLS = 20
LEAST_PERIODS = 5


@dataclass(frozen=True)
class Difference:
    """A test of two variants. `p_value` is how likely such a difference is by chance alone; None: too little data."""

    test: str
    values: tuple[float | None, float | None]
    p_value: float | None
    note: str = ""

    def certain(self, confidence: float) -> bool:
        return self.p_value is not None and self.p_value < 1 - confidence

    @property
    def lower(self) -> int:
        """The index of the variant whose value is lower."""
        one, other = self.values
        assert one is not None and other is not None
        return 0 if one < other else 1


@dataclass(frozen=True)
class Agreement:
    """Answers to the same requests that are the same, with the interval in which their true share lies."""

    agreed: int
    compared: int
    share: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class VariantComparison:
    """A variant beside the baseline. `better` is None if no difference is certain."""

    variants: tuple[str, str]
    errors: Difference
    latency: Difference
    agreement: Agreement | None
    better: str | None
    reason: str


def compare(
    baseline: MeasuredVariant, variant: MeasuredVariant, answers: tuple[int, int] | None, confidence: float
) -> VariantComparison:
    """Compare two variants: errors decide, and latencies if errors are alike. Raises ComparisonError."""
    both = (baseline, variant)
    for item in both:
        if item.calls < LEAST_CALLS:
            raise ComparisonError(
                f"variant {item.name} has {item.calls} calls in this time, and at least {LEAST_CALLS} are needed: wait"
                " for more, give it more weight, or look further back with --minutes"
            )
    errors, latency = _compare_errors(both), _compare_latencies(both)
    better, reason = _verdict([item.name for item in both], errors, latency, confidence)
    found = _agreement(*answers, confidence) if answers is not None and answers[1] else None
    return VariantComparison((baseline.name, variant.name), errors, latency, found, better, reason)


def error_interval(variant: MeasuredVariant, confidence: float) -> tuple[float, float]:
    """Return the interval in which a variant's true error rate lies (Wilson)."""
    return _interval(variant.errors, variant.calls, confidence)


def _compare_errors(both: Sequence[MeasuredVariant]) -> Difference:
    table = [[item.errors, item.calls - item.errors] for item in both]
    p_value = float(stats.fisher_exact(table).pvalue)
    return Difference("Fisher's exact test", (both[0].error_rate, both[1].error_rate), p_value)


def _compare_latencies(both: Sequence[MeasuredVariant]) -> Difference:
    name = "Mann-Whitney U test of the periods' means"
    medians = tuple(median(item.latencies_ms) if item.latencies_ms else None for item in both)
    values = medians[0], medians[1]
    if (least := min(len(item.latencies_ms) for item in both)) < LEAST_PERIODS:
        note = (
            f"not compared: {least} periods with calls, of {LEAST_PERIODS} that are needed; wait, or shorten --period"
        )
        return Difference(name, values, None, note)
    result: Any = stats.mannwhitneyu(both[0].latencies_ms, both[1].latencies_ms, alternative="two-sided")
    return Difference(name, values, float(result.pvalue))


def _agreement(agreed: int, compared: int, confidence: float) -> Agreement:
    return Agreement(agreed, compared, agreed / compared, _interval(agreed, compared, confidence))


def _interval(count: int, total: int, confidence: float) -> tuple[float, float]:
    interval: Any = stats.binomtest(count, total).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def _verdict(
    names: Sequence[str], errors: Difference, latency: Difference, confidence: float
) -> tuple[str | None, str]:
    if errors.certain(confidence):
        reason = "fewer errors"
        if latency.certain(confidence):
            reason += ", and lower latency" if latency.lower == errors.lower else ", though higher latency"
        return names[errors.lower], reason
    if latency.certain(confidence):
        return names[latency.lower], "lower latency, and no certain difference in errors"
    return None, "no difference is certain"
