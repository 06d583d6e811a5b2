"""How far the distribution of a column is from the baseline's."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from polyhost.drift.tables import DataColumn

_ROBUST_FACTOR = 1.8


@dataclass(frozen=True)
class Distance:
    """The distance of two distributions, and the probability of one as large if there is no drift at all.

    `drifted`: whether it is above the threshold.
    """

    value: float
    threshold: float
    p_value: float
    drifted: bool


def numerical_distance(column: DataColumn, baseline: Mapping[str, Any], config: Mapping[str, Any]) -> Distance | None:
    """Return the largest difference of the cumulative distributions, as Kolmogorov and Smirnov have it.

    `Robust` subtracts what few values can differ by chance. `baseline` are the numerical_statistics.
    """
    values = _baseline_values(baseline)
    if not len(values) or not len(column.numbers):
        return None
    threshold = float(config.get("comparison_threshold", 0.1))
    result = stats.ks_2samp(values, column.numbers, method="asymp")
    distance = float(result.statistic)
    if config.get("comparison_method") == "Robust":
        expected, found = len(values), len(column.numbers)
        distance = max(0.0, distance - _ROBUST_FACTOR * math.sqrt((expected + found) / (expected * found)))
    return Distance(distance, threshold, float(result.pvalue), distance > threshold)


def categorical_distance(column: DataColumn, baseline: Mapping[str, Any], config: Mapping[str, Any]) -> Distance | None:
    """Return the largest difference of a category's share; with `ChiSquared` 1 - p, above 1 - threshold for drift.

    `baseline` are the string_statistics.
    """
    buckets = baseline.get("distribution", {}).get("categorical", {}).get("buckets", [])
    expected = Counter({item["value"]: item["count"] for item in buckets})
    if not expected or not column.texts:
        return None
    threshold = float(config.get("categorical_comparison_threshold", 0.1))
    names = sorted({*expected, *column.texts})
    table = np.array([[expected[name] for name in names], [column.texts[name] for name in names]], dtype=float)
    p_value = float(stats.chi2_contingency(table).pvalue) if len(names) > 1 else 1.0
    if config.get("categorical_drift_method") == "ChiSquared":
        return Distance(1 - p_value, 1 - threshold, p_value, p_value < threshold)
    shares = table / table.sum(axis=1, keepdims=True)
    distance = float(np.abs(shares[0] - shares[1]).max())
    return Distance(distance, threshold, p_value, distance > threshold)


def _baseline_values(baseline: Mapping[str, Any]) -> Any:
    """Return values distributed as the baseline's: those of the sketch, or else the middles of the buckets."""
    kll = baseline.get("distribution", {}).get("kll", {})
    levels = kll.get("sketch", {}).get("data")
    if levels:
        return np.concatenate([np.repeat(np.array(items, float), 1 << level) for level, items in enumerate(levels)])
    middles = [(item["lower_bound"] + item["upper_bound"]) / 2 for item in kll.get("buckets", [])]
    return np.repeat(np.array(middles, float), [int(item["count"]) for item in kll.get("buckets", [])])
