"""CloudWatch's statistics by their names (CloudWatch user guide, "CloudWatch statistics definitions")."""

import re
from collections.abc import Callable, Sequence

from polyhost.emulator.alarms.samples import MetricSample

_PERCENTILE = re.compile(r"p(\d{1,3}(?:\.\d{1,10})?)")
_SHORT = re.compile(r"(tm|wm|tc|ts)(\d{1,2}(?:\.\d{1,10})?)", re.IGNORECASE)
_RANGE = re.compile(r"(TM|WM|TC|TS)\((\d{0,3}(?:\.\d+)?)%:(\d{0,3}(?:\.\d+)?)%\)", re.IGNORECASE)
_RANK = re.compile(r"PR\(([-+.\deE]*):([-+.\deE]*)\)", re.IGNORECASE)

Weighted = Sequence[tuple[float, float]]  # values in order, with their counts
Statistic = Callable[[Sequence[MetricSample]], float | None]

SIMPLE: dict[str, Statistic] = {
    "SampleCount": lambda samples: sum(sample.count for sample in samples),
    "Sum": lambda samples: sum(sample.sum for sample in samples),
    "Average": lambda samples: sum(sample.sum for sample in samples) / (sum(sample.count for sample in samples) or 1),
    "Minimum": lambda samples: min(sample.minimum for sample in samples),
    "Maximum": lambda samples: max(sample.maximum for sample in samples),
}


def statistic(name: str) -> Statistic:
    """Return the function of this name, which gets the samples of a period, at least one.

    It returns None if the samples are statistic sets, and it needs values. Raises ValueError for an unknown name.
    """
    if name in SIMPLE:
        return SIMPLE[name]
    of_values = _of_values(name)
    return lambda samples: _apply(of_values, samples)


def _apply(of_values: Callable[[Weighted], float], samples: Sequence[MetricSample]) -> float | None:
    if any(sample.values is None for sample in samples):
        return None
    return of_values(sorted(pair for sample in samples for pair in sample.values or ()))


def _of_values(name: str) -> Callable[[Weighted], float]:
    if (found := _PERCENTILE.fullmatch(name)) and (percent := float(found[1])) <= 100:
        return lambda values: percentile(values, percent)
    if found := _SHORT.fullmatch(name):
        return _trimmed(found[1].lower(), 0.0, float(found[2]))
    if name.upper() == "IQM":
        return _trimmed("tm", 25.0, 75.0)
    if (found := _RANGE.fullmatch(name)) and (found[2] or found[3]):
        return _trimmed(found[1].lower(), float(found[2] or 0), float(found[3] or 100))
    if (found := _RANK.fullmatch(name)) and (found[1] or found[2]):
        return _rank(float(found[1] or "-inf"), float(found[2] or "inf"))
    raise ValueError(
        f"{name!r} is no statistic; valid are Average, Sum, Minimum, Maximum, SampleCount, pNN, tmNN, wmNN, tcNN, tsNN,"
        " IQM, TM(X%:Y%), WM(X%:Y%), TC(X%:Y%), TS(X%:Y%) and PR(X:Y)"
    )


def percentile(values: Weighted, percent: float) -> float:
    """Return the smallest value that this share of the values does not exceed."""
    total = sum(count for _, count in values)
    seen = 0.0
    for value, count in values:
        seen += count
        if seen >= total * percent / 100:
            return value
    return values[-1][0]


def _trimmed(kind: str, low: float, high: float) -> Callable[[Weighted], float]:
    """Return the mean, the count or the sum of the values between two percentiles; `wm` clips the others to them."""

    def compute(values: Weighted) -> float:
        total = sum(count for _, count in values)
        if kind == "wm":
            least, most = percentile(values, low) if low else values[0][0], percentile(values, high)
            return sum(min(max(value, least), most) * count for value, count in values) / total
        kept = list(_between(values, total * low / 100, total * high / 100))
        count = sum(weight for _, weight in kept)
        amount = sum(value * weight for value, weight in kept)
        return {"tc": count, "ts": amount, "tm": amount / (count or 1)}[kind]

    return compute


def _between(values: Weighted, first: float, last: float) -> Weighted:
    """Return the values whose places in the order are between two places; parts of a count belong to it too."""
    place, kept = 0.0, []
    for value, count in values:
        inside = min(place + count, last) - max(place, first)
        if inside > 0:
            kept.append((value, inside))
        place += count
    return kept


def _rank(low: float, high: float) -> Callable[[Weighted], float]:
    def compute(values: Weighted) -> float:
        inside = sum(count for value, count in values if low < value <= high)
        return 100 * inside / sum(count for _, count in values)

    return compute
