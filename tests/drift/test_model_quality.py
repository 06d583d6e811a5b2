"""Predictions beside what is true; scikit-learn is the judge of the metrics."""

import json

import numpy as np
import pytest

from polyhost.drift.captures import CapturedCall, Row
from polyhost.drift.errors import DriftError
from polyhost.drift.model_quality import (
    Pair,
    ProblemType,
    constraints_of_quality,
    pairs_of,
    quality_of,
    quality_violations,
    read_ground_truth,
    statistics_of_quality,
)

metrics = pytest.importorskip("sklearn.metrics")


def drawn(classes: int) -> tuple[list[int], list[int]]:
    random = np.random.default_rng(classes)
    true = random.integers(0, classes, 200)
    guessed = np.where(random.random(200) < 0.7, true, random.integers(0, classes, 200))
    return list(guessed), list(true)


def as_pairs(predicted: list[int], true: list[int]) -> list[Pair]:
    return [(str(first), str(second)) for first, second in zip(predicted, true, strict=True)]


def test_many_classes() -> None:
    predicted, true = drawn(4)
    quality = quality_of(as_pairs(predicted, true), ProblemType.MULTICLASS)
    assert quality["accuracy"] == pytest.approx(metrics.accuracy_score(true, predicted))
    assert quality["weighted_recall"] == pytest.approx(metrics.recall_score(true, predicted, average="weighted"))
    assert quality["weighted_precision"] == pytest.approx(metrics.precision_score(true, predicted, average="weighted"))
    for name, beta in (("weighted_f0_5", 0.5), ("weighted_f1", 1), ("weighted_f2", 2)):
        expected = metrics.fbeta_score(true, predicted, beta=beta, average="weighted")
        assert quality[name] == pytest.approx(expected)
    matrix = metrics.confusion_matrix(true, predicted)
    assert quality["confusion_matrix"]["1"] == {str(index): int(count) for index, count in enumerate(matrix[1])}


def test_two_classes() -> None:
    predicted, true = drawn(2)
    quality = quality_of(as_pairs(predicted, true), ProblemType.BINARY)
    assert quality["recall"] == pytest.approx(metrics.recall_score(true, predicted))
    assert quality["precision"] == pytest.approx(metrics.precision_score(true, predicted))
    assert quality["f2"] == pytest.approx(metrics.fbeta_score(true, predicted, beta=2))
    (negatives, false_positives), _ = metrics.confusion_matrix(true, predicted)
    assert quality["false_positive_rate"] == pytest.approx(false_positives / (negatives + false_positives))
    assert quality_of([("1", "1")], ProblemType.BINARY)["accuracy"] == 1
    with pytest.raises(DriftError, match="3 classes are too many for BinaryClassification"):
        quality_of([("1", "2"), ("3", "1")], ProblemType.BINARY)


def test_numbers() -> None:
    quality = quality_of([("1.5", "1"), ("2", "4")], ProblemType.REGRESSION)
    assert quality == pytest.approx({"mae": 1.25, "mse": 2.125, "rmse": np.sqrt(2.125), "r2": 1 - 4.25 / 4.5})
    with pytest.raises(DriftError, match="is not a number"):
        quality_of([("a", "1")], ProblemType.REGRESSION)


def test_files_and_violations() -> None:
    good, bad = (quality_of([(guess, "1")], ProblemType.REGRESSION) for guess in ("1.1", "3"))
    constraints = constraints_of_quality(good, ProblemType.REGRESSION)
    assert constraints["regression_constraints"]["r2"]["comparison_operator"] == "LessThanThreshold"
    assert quality_violations(good, constraints, ProblemType.REGRESSION) == []
    found = quality_violations(bad, constraints, ProblemType.REGRESSION)
    assert [item["metric_name"] for item in found] == ["mae", "mse", "rmse"]
    assert found[0]["constraint_check_type"] == "GreaterThanThreshold"
    assert found[0]["description"].startswith("Metric mae with 2.0 was GreaterThanThreshold '0.1")
    statistics = statistics_of_quality(good, ProblemType.REGRESSION, 1)
    assert statistics["regression_metrics"]["mae"]["value"] == pytest.approx(0.1)
    with pytest.raises(DriftError, match="has no binary_classification_constraints"):
        quality_violations(good, constraints, ProblemType.BINARY)


def test_truth_is_matched_by_the_calls_id() -> None:
    def call(name: str, outputs: list[Row]) -> CapturedCall:
        return CapturedCall(name, 0.0, None, [], outputs)

    def truth(name: str, data: str) -> bytes:
        document = {"groundTruthData": {"data": data, "encoding": "CSV"}, "eventMetadata": {"eventId": name}}
        return json.dumps(document).encode()

    known = dict(read_ground_truth([truth("a", "7"), b"", truth("b", "1\n2"), truth("c", "1\n2")], "file"))
    calls = [call("a", [[8]]), call("b", [{"label": 1}, {"label": 3}]), call("c", [[1]]), call("unknown", [[1]])]
    assert pairs_of(calls, known) == [("8", "7"), ("1", "1"), ("3", "2")]
    with pytest.raises(DriftError, match="line 1 of file is not ground truth"):
        dict(read_ground_truth([b'{"groundTruthData": {}}'], "file"))
