"""statistics.json and constraints.json of Model Monitor (developer guide, model-monitor-byoc-statistics)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from polyhost.drift.tables import DataColumn, InferredType

_BUCKETS = 10
_SKETCH_ITEMS = 2048  # the parameter k of a KLL sketch
_SKETCH_SHRINKING = 0.64  # its parameter c
_MOST_CATEGORIES = 100
_NUMERIC = (InferredType.INTEGRAL, InferredType.FRACTIONAL)

Members = dict[str, Any]


def statistics_of(columns: Sequence[DataColumn]) -> Members:
    """Return the statistics of a data set."""
    count = max((column.count for column in columns), default=0)
    return {"version": 0.0, "dataset": {"item_count": count}, "features": [_feature(column) for column in columns]}


def constraints_of(columns: Sequence[DataColumn]) -> Members:
    """Return the constraints that a data set suggests."""
    return {
        "version": 0.0,
        "features": [_constraint(column) for column in columns],
        "monitoring_config": {
            "evaluate_constraints": "Enabled",
            "emit_metrics": "Enabled",
            "datatype_check_threshold": 1.0,
            "domain_content_threshold": 1.0,
            "distribution_constraints": {
                "perform_comparison": "Enabled",
                "comparison_threshold": 0.1,
                "comparison_method": "Robust",
                "categorical_comparison_threshold": 0.1,
                "categorical_drift_method": "LInfinity",
            },
        },
    }


def _feature(column: DataColumn) -> Members:
    common = {"num_present": column.present, "num_missing": column.count - column.present}
    feature: Members = {"name": column.name, "inferred_type": str(column.type)}
    if column.type in _NUMERIC:
        feature["numerical_statistics"] = {"common": common, **_numerical(column)}
    elif column.type is InferredType.STRING:
        buckets = [{"value": value, "count": count} for value, count in column.texts.most_common(_MOST_CATEGORIES)]
        feature["string_statistics"] = {
            "common": common,
            "distinct_count": float(len(column.texts)),
            "distribution": {"categorical": {"buckets": buckets}},
        }
    return feature


def _numerical(column: DataColumn) -> Members:
    values = column.numbers
    if not len(values):  # nothing but infinities
        return {}
    return {
        "mean": float(values.mean()),
        "sum": float(values.sum()),
        "std_dev": float(values.std()),
        "min": float(values[0]),
        "max": float(values[-1]),
        "distribution": {"kll": {"buckets": _buckets(values), "sketch": _sketch(values)}},
    }


def _buckets(values: Any) -> list[Members]:
    counts, edges = np.histogram(values, bins=_BUCKETS)
    return [
        {"lower_bound": float(lower), "upper_bound": float(upper), "count": float(count)}
        for lower, upper, count in zip(edges, edges[1:], counts, strict=False)
    ]


def _sketch(values: Any) -> Members:
    """Return sorted values as a KLL sketch: a level's items stand for twice as many values as the level before.

    Every 2 ^ n-th value is kept, on one level, so that ranks are off by one in a thousand at most.
    """
    level = 0
    while len(values) >> level > _SKETCH_ITEMS:
        level += 1
    kept = values[(1 << level) // 2 :: 1 << level]
    data: list[list[float]] = [[] for _ in range(level)]
    return {
        "parameters": {"c": _SKETCH_SHRINKING, "k": float(_SKETCH_ITEMS)},
        "data": [*data, [float(value) for value in kept]],
    }


def _constraint(column: DataColumn) -> Members:
    constraint: Members = {
        "name": column.name,
        "inferred_type": str(column.type),
        "completeness": column.completeness,
    }
    if column.type in _NUMERIC and len(column.numbers):
        constraint["num_constraints"] = {"is_non_negative": bool(column.numbers[0] >= 0)}
    elif column.type is InferredType.STRING and 2 * len(column.texts) <= min(column.present, 2 * _MOST_CATEGORIES):
        constraint["string_constraints"] = {"domains": sorted(column.texts)}
    return constraint
