"""Baselines and what is found beside them; the drawn numbers are seeded, so that no result depends on chance."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from polyhost.drift.captures import read_calls
from polyhost.drift.data_quality import Baseline, DataQualityResult
from polyhost.drift.errors import DriftError
from polyhost.drift.monitor import data_quality, read_baseline, suggest_baseline
from polyhost.drift.statistics import constraints_of, statistics_of
from polyhost.drift.tables import columns_of, read_dataset
from tests.drift.data import baseline_of, csv_rows, line, normal


def analysed(baseline: Baseline, *lines: bytes) -> DataQualityResult:
    return data_quality(read_calls(lines, "file"), baseline)


def checks(result: DataQualityResult) -> list[tuple[str, str]]:
    return [(item.feature, item.check) for item in result.violations]


def test_statistics_and_constraints_have_model_monitors_form(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("count,share,kind,none\n1,0.5,a,\n-2,1.5,b,\n3,,a,\n2,2.5,b,\n")
    columns = read_dataset(path)
    statistics = statistics_of(columns)
    assert statistics["dataset"] == {"item_count": 4}
    count, share, kind, none = statistics["features"]
    assert [item["inferred_type"] for item in (count, share, kind, none)] == [
        *("Integral", "Fractional", "String", "Unknown")
    ]
    numbers = count["numerical_statistics"]
    assert (numbers["mean"], numbers["sum"], numbers["min"], numbers["max"]) == (1.0, 4.0, -2.0, 3.0)
    assert numbers["std_dev"] == pytest.approx(np.std([1, -2, 3, 2]))
    assert share["numerical_statistics"]["common"] == {"num_present": 3, "num_missing": 1}
    kll = numbers["distribution"]["kll"]
    assert kll["sketch"]["data"] == [[-2.0, 1.0, 2.0, 3.0]]
    assert sum(bucket["count"] for bucket in kll["buckets"]) == 4
    buckets = kind["string_statistics"]["distribution"]["categorical"]["buckets"]
    assert sorted((bucket["value"], bucket["count"]) for bucket in buckets) == [("a", 2), ("b", 2)]
    constraints = {item["name"]: item for item in constraints_of(columns)["features"]}
    assert constraints["count"]["num_constraints"] == {"is_non_negative": False}
    assert constraints["share"]["completeness"] == 0.75
    assert constraints["kind"]["string_constraints"] == {"domains": ["a", "b"]}


def test_a_large_data_set_is_sketched(tmp_path: Path) -> None:
    values = np.random.default_rng(5).normal(size=(50_000, 1))
    path = tmp_path / "train.csv"
    path.write_text("x\n" + csv_rows(values))
    (feature,) = suggest_baseline(path).statistics["features"]
    levels = feature["numerical_statistics"]["distribution"]["kll"]["sketch"]["data"]
    assert len(levels[-1]) <= 2048 and not any(levels[:-1])
    assert len(levels[-1]) << (len(levels) - 1) == pytest.approx(50_000, rel=0.001)
    assert stats.ks_2samp(levels[-1], values[:, 0]).statistic < 0.001


def test_the_same_distribution_is_no_drift(tmp_path: Path) -> None:
    result = analysed(baseline_of(tmp_path), line(csv_rows(normal(2, 300))))
    assert checks(result) == []
    assert {column.name for column in result.columns} == {"moves", "stays"}


def test_drift_is_found_in_the_column_that_moves(tmp_path: Path) -> None:
    result = analysed(baseline_of(tmp_path), line(csv_rows(normal(2, 300, mean=1.0))))
    assert checks(result) == [("moves", "baseline_drift_check")]
    moved = result.distances["moves"]
    expected = stats.ks_2samp(normal(1, 500)[:, 0], normal(2, 300, mean=1.0)[:, 0])
    robust = expected.statistic - 1.8 * np.sqrt(800 / (500 * 300))
    assert moved.value == pytest.approx(robust, abs=1e-3)
    assert moved.p_value < 1e-9
    assert result.violations[0].description == f"Baseline drift distance: {moved.value} exceeds threshold: 0.1"


def test_few_values_do_not_drift_by_chance(tmp_path: Path) -> None:
    baseline = baseline_of(tmp_path)
    few = line(csv_rows(normal(3, 5)))
    assert checks(analysed(baseline, few)) == []
    distribution = baseline.constraints["monitoring_config"]["distribution_constraints"]
    distribution["comparison_method"] = "Simple"
    assert ("moves", "baseline_drift_check") in checks(analysed(baseline, few))
    distribution["perform_comparison"] = "Disabled"
    assert analysed(baseline, few).distances == {}


def test_outputs_come_before_inputs_unless_the_baseline_has_inputs_only(tmp_path: Path) -> None:
    rows = normal(2, 4)
    both = line(csv_rows(rows), "0\n1\n0\n1")
    assert [column.name for column in analysed(baseline_of(tmp_path), both).columns] == ["moves", "stays"]
    path = tmp_path / "labelled.csv"
    path.write_text("label,moves,stays\n" + csv_rows(np.hstack([np.arange(4)[:, None] % 2, rows])))
    found = analysed(suggest_baseline(path), both).columns
    assert (found[0].name, found[0].type) == ("label", "Integral")


def test_names_types_and_completeness(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps({"n": n, "kind": "ab"[n % 2], "gone": n}) + "\n" for n in range(200)))
    baseline = suggest_baseline(path)
    rows = [{"n": n if n % 4 else None, "kind": "ab"[n % 2], "new": 1} for n in range(200)]
    rows[1]["n"], rows[2]["kind"] = "many", "c"
    result = analysed(baseline, line(json.dumps(rows), encoding="JSON", content_type="application/json"))
    assert checks(result) == [
        ("gone", "missing_column_check"),
        ("new", "extra_column_check"),
        ("n", "data_type_check"),
        ("n", "completeness_check"),
        ("kind", "categorical_values_check"),
    ]
    assert "Only 99.3% of data is Integral." in result.violations[2].description


def test_categories_drift(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("kind\n" + "a\nb\n" * 100)
    baseline = suggest_baseline(path)
    same, moved = (line("\n".join("a" * count + "b" * (100 - count))) for count in (55, 80))
    assert checks(analysed(baseline, same)) == []
    result = analysed(baseline, moved)
    assert checks(result) == [("kind", "baseline_drift_check")]
    assert result.distances["kind"].value == pytest.approx(0.3)
    baseline.constraints["monitoring_config"]["distribution_constraints"]["categorical_drift_method"] = "ChiSquared"
    assert checks(analysed(baseline, same)) == []
    assert checks(analysed(baseline, moved)) == [("kind", "baseline_drift_check")]


def test_bad_input_is_named(tmp_path: Path) -> None:
    baseline = baseline_of(tmp_path)
    with pytest.raises(DriftError, match="there is nothing to analyse"):
        analysed(baseline)
    with pytest.raises(DriftError, match="some rows have names"):
        columns_of([{"a": 1}, [1]])
    (tmp_path / "statistics.json").write_text("[]")
    with pytest.raises(DriftError, match=r"cannot read .*constraints.json"):
        read_baseline(tmp_path)
    (tmp_path / "constraints.json").write_text("{")
    with pytest.raises(DriftError, match=r"constraints.json is not JSON"):
        read_baseline(tmp_path)
    (tmp_path / "constraints.json").write_text('{"features": [1]}')
    with pytest.raises(DriftError, match=r"statistics.json of the baseline has no features"):
        read_baseline(tmp_path)
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(DriftError, match=r"cannot read the data set empty.csv"):
        read_baseline(tmp_path / "empty.csv")
    (tmp_path / "head.csv").write_text("a,b\n")
    with pytest.raises(DriftError, match=r"head.csv has no values"):
        read_baseline(tmp_path / "head.csv")
