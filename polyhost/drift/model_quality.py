"""Model quality: captured predictions beside the ground truth, which comes later.

Formats: developer guide, model-monitor-model-quality-metrics and model-monitor-model-quality-merge.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from polyhost.drift.captures import CapturedCall, rows_of_part
from polyhost.drift.errors import DriftError

Members = dict[str, Any]
Pair = tuple[str, str]  # a prediction, and what is true


class ProblemType(StrEnum):
    """Kinds of predictions (botocore, MonitoringProblemType)."""

    BINARY = "BinaryClassification"
    MULTICLASS = "MulticlassClassification"
    REGRESSION = "Regression"

    @property
    def section(self) -> str:
        """The name of its sections in statistics.json and constraints.json, without the last word."""
        return {"BinaryClassification": "binary_classification", "Regression": "regression"}.get(
            self, "multiclass_classification"
        )


_ERRORS = ("mae", "mse", "rmse", "false_positive_rate", "false_negative_rate")  # the less, the better


def read_ground_truth(lines: Iterable[bytes], source: str) -> Iterator[tuple[str, list[str]]]:
    """Yield event IDs with what is true for the rows of that call. Raises DriftError, with the line."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
            part = {"observedContentType": "text/csv", **document["groundTruthData"]}
            yield document["eventMetadata"]["eventId"], [str(_only(row)) for row in rows_of_part(part)]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
            raise DriftError(
                f"line {number} of {source} is not ground truth ({error!r}); give groundTruthData and eventMetadata"
            ) from error


def read_pairs(path: Path, inference: str, truth: str) -> list[Pair]:
    """Return the predictions of a data set in CSV with a header. Raises DriftError."""
    try:
        with path.open(newline="") as file:
            return [(row[inference], row[truth]) for row in csv.DictReader(file)]
    except (OSError, KeyError, csv.Error, UnicodeDecodeError) as error:
        raise DriftError(f"cannot read {inference} and {truth} of the data set {path.name}: {error!r}") from error


def pairs_of(calls: Iterable[CapturedCall], truth: Mapping[str, Sequence[str]]) -> list[Pair]:
    """Return the predictions whose truth is known. A call is matched by its inference ID, or else its event ID."""
    pairs: list[Pair] = []
    for call in calls:
        known = truth.get(call.event_id)
        if known is not None and len(known) == len(call.outputs):
            pairs += [(str(_only(row)), true) for row, true in zip(call.outputs, known, strict=True)]
    return pairs


def quality_of(pairs: Sequence[Pair], problem: ProblemType) -> Members:
    """Return the metrics of predictions by AWS's names. Raises DriftError."""
    if not pairs:
        raise DriftError("no prediction has a matching truth")
    if problem is ProblemType.REGRESSION:
        return _regression(pairs)
    labels = sorted({label for pair in pairs for label in pair})
    index = {label: position for position, label in enumerate(labels)}
    matrix = np.zeros((len(labels), len(labels)))
    for predicted, true in pairs:
        matrix[index[true], index[predicted]] += 1
    if problem is ProblemType.MULTICLASS:
        return {"confusion_matrix": _confusion(matrix, labels), **_multiclass(matrix)}
    if len(labels) > 2:
        raise DriftError(f"{len(labels)} classes are too many for {problem}; use MulticlassClassification")
    return {"confusion_matrix": _confusion(matrix, labels), **_binary(matrix)}


def statistics_of_quality(quality: Members, problem: ProblemType, count: int) -> Members:
    """Return the content of statistics.json."""
    metrics = {
        name: value if name == "confusion_matrix" else {"value": value, "standard_deviation": "NaN"}
        for name, value in quality.items()
    }
    return {"version": 0.0, "dataset": {"item_count": count}, f"{problem.section}_metrics": metrics}


def constraints_of_quality(quality: Members, problem: ProblemType) -> Members:
    """Return the constraints that quality suggests: not to get worse."""
    constraints = {
        name: {
            "threshold": value,
            "comparison_operator": "GreaterThanThreshold" if name in _ERRORS else "LessThanThreshold",
        }
        for name, value in quality.items()
        if name != "confusion_matrix"
    }
    return {"version": 0.0, f"{problem.section}_constraints": constraints}


def quality_violations(quality: Members, constraints: Members, problem: ProblemType) -> list[Members]:
    """Return the violations as constraint_violations.json has them. Raises DriftError for other constraints."""
    section = constraints.get(f"{problem.section}_constraints") if isinstance(constraints, dict) else None
    if not isinstance(section, dict):
        raise DriftError(
            f"constraints.json has no {problem.section}_constraints; use those of a model quality baseline"
        )
    violations = []
    for name, constraint in section.items():
        value, threshold, operator = (
            quality.get(name),
            float(constraint["threshold"]),
            constraint["comparison_operator"],
        )
        if not isinstance(value, float):
            continue
        if value < threshold if operator == "LessThanThreshold" else value > threshold:
            description = f"Metric {name} with {value} was {operator} '{threshold}'"
            violations.append({"constraint_check_type": operator, "description": description, "metric_name": name})
    return violations


def _only(row: Any) -> Any:
    """Return the first value of a row."""
    return next(iter(row.values())) if isinstance(row, dict) else row[0]


def _regression(pairs: Sequence[Pair]) -> Members:
    try:
        predicted, true = np.array(pairs, dtype=float).T
    except ValueError as error:
        raise DriftError(f"a prediction or its truth is not a number: {error}; choose InferenceAttribute") from error
    errors = predicted - true
    mse, spread = float(np.mean(errors**2)), float(np.sum((true - true.mean()) ** 2))
    return {
        "mae": float(np.mean(np.abs(errors))),
        "mse": mse,
        "rmse": float(np.sqrt(mse)),
        "r2": 1 - float(np.sum(errors**2)) / spread if spread else 0.0,
    }


def _multiclass(matrix: Any) -> Members:
    weights, right = matrix.sum(axis=1) / matrix.sum(), np.diag(matrix)
    recall, precision = (_shares(right, matrix.sum(axis=axis)) for axis in (1, 0))
    return {
        "accuracy": float(right.sum() / matrix.sum()),
        "weighted_recall": float(weights @ recall),
        "weighted_precision": float(weights @ precision),
        **{f"weighted_{name}": float(weights @ _f_scores(precision, recall, beta)) for name, beta in _F_SCORES.items()},
    }


def _binary(matrix: Any) -> Members:
    """Take the last label as the positive one: 1 of 0 and 1."""
    if len(matrix) == 1:
        matrix = np.array([[0.0, 0.0], [0.0, matrix[0, 0]]])
    recall, precision = (_shares(np.diag(matrix), matrix.sum(axis=axis)) for axis in (1, 0))
    return {
        "accuracy": float(np.trace(matrix) / matrix.sum()),
        "recall": float(recall[1]),
        "precision": float(precision[1]),
        "true_positive_rate": float(recall[1]),
        "true_negative_rate": float(recall[0]),
        "false_positive_rate": float(_shares(matrix[0, 1:], matrix[0].sum())[0]),
        "false_negative_rate": float(_shares(matrix[1, :1], matrix[1].sum())[0]),
        **{name: float(_f_scores(precision, recall, beta)[1]) for name, beta in _F_SCORES.items()},
    }


_F_SCORES = {"f0_5": 0.5, "f1": 1.0, "f2": 2.0}


def _f_scores(precision: Any, recall: Any, beta: float) -> Any:
    return _shares((1 + beta**2) * precision * recall, beta**2 * precision + recall)


def _shares(part: Any, whole: Any) -> Any:
    """Divide; nothing of nothing is 0."""
    whole = np.broadcast_to(np.asarray(whole, float), np.shape(part))
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 0)


def _confusion(matrix: Any, labels: Sequence[str]) -> Members:
    return {
        true: {predicted: int(matrix[row, column]) for column, predicted in enumerate(labels)}
        for row, true in enumerate(labels)
    }
