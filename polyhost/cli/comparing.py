"""What `polyhost compare` does with scipy and boto3, which the command line alone does not need."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from polyhost.cli.output import print_columns
from polyhost.comparison.captured_answers import agreement, read_answers
from polyhost.comparison.differences import Difference, VariantComparison, compare, error_interval
from polyhost.comparison.errors import ComparisonError
from polyhost.comparison.measurements import DescribedEndpoint, MeasuredVariant, Span, describe_endpoint, measure


@dataclass(frozen=True)
class ComparisonReport:
    """The variants of an endpoint, and each of them beside the baseline, which is the first one."""

    endpoint: str
    confidence: float
    variants: Sequence[MeasuredVariant]
    comparisons: Sequence[VariantComparison]

    def interval_of(self, variant: MeasuredVariant) -> tuple[float, float]:
        """Return the interval of a variant's error rate."""
        return error_interval(variant, self.confidence)

    def print(self) -> None:
        """Print a table of the variants, and what each comparison says."""
        rows = [("VARIANT", "CALLS", "ERRORS", "ERROR RATE", "MEDIAN LATENCY")]
        print_columns([*rows, *(self._row(item) for item in self.variants)])
        for item in self.comparisons:
            print_columns([("",), (f"{item.variants[1]} beside {item.variants[0]}",)])
            print_columns([*_lines(item, self.confidence)])

    def _row(self, item: MeasuredVariant) -> tuple[str, ...]:
        low, high = self.interval_of(item)
        latency = f"{median(item.latencies_ms):.1f} ms" if item.latencies_ms else "-"
        rate = f"{item.error_rate:.2%} ({low:.2%} to {high:.2%})"
        return item.name, f"{item.calls:,}", f"{item.errors:,}", rate, latency


class Comparing:
    """Reads what there is of an endpoint, and compares."""

    def __init__(self, endpoint: str, span: Span, confidence: float, tolerance: float) -> None:
        self._endpoint = endpoint
        self._span = span
        self._confidence = confidence
        self._tolerance = tolerance

    def run(self, baseline: str | None, captures: str | None) -> ComparisonReport:
        """Compare all variants with the baseline. Raises ComparisonError."""
        try:
            session = boto3.Session()
            endpoint = describe_endpoint(session, self._endpoint)
            names = _baseline_first(endpoint, baseline)
            measured = measure(session, self._endpoint, names, self._span)
            place = captures or endpoint.captures
            answers = [read_answers(session, place, self._endpoint, name) if place else {} for name in names]
        except (BotoCoreError, ClientError) as error:
            raise ComparisonError(
                f"cannot read of endpoint {self._endpoint}: {error}. Set a region and credentials of AWS, or run:"
                ' eval "$(polyhost emulator env)"'
            ) from error
        comparisons = [
            compare(
                measured[0],
                measured[number],
                agreement(answers[0], answers[number], self._tolerance) if place else None,
                self._confidence,
            )
            for number in range(1, len(names))
        ]
        return ComparisonReport(self._endpoint, self._confidence, measured, comparisons)


def _baseline_first(endpoint: DescribedEndpoint, baseline: str | None) -> list[str]:
    first = baseline or endpoint.variants[0]
    if first not in endpoint.variants:
        raise ComparisonError(f"endpoint {endpoint.name} has no variant {first}; it has {', '.join(endpoint.variants)}")
    return [first, *(name for name in endpoint.variants if name != first)]


def _lines(item: VariantComparison, confidence: float) -> list[tuple[str, str]]:
    lines = [("errors", _words(item.errors, confidence)), ("latency", _words(item.latency, confidence))]
    if item.agreement is not None:
        found, (low, high) = item.agreement, item.agreement.interval
        text = f"{found.share:.1%} of {found.compared:,} answers to the same requests ({low:.1%} to {high:.1%})"
        lines.append(("agreement", text))
    verdict = f"{item.better} is better: {item.reason}" if item.better is not None else item.reason
    return [*lines, ("verdict", verdict)]


def _words(difference: Difference, confidence: float) -> str:
    if difference.p_value is None:
        return difference.note
    word = "differ" if difference.certain(confidence) else "may be alike"
    return f"{word}, p = {difference.p_value:.2g} ({difference.test})"
