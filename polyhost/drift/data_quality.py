"""Data quality: captured columns beside the baseline's statistics and constraints."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from polyhost.drift.distances import Distance, categorical_distance, numerical_distance
from polyhost.drift.errors import DriftError
from polyhost.drift.statistics import statistics_of
from polyhost.drift.tables import DataColumn, InferredType

Members = dict[str, Any]


@dataclass(frozen=True)
class Baseline:
    """The contents of statistics.json and constraints.json."""

    statistics: Members
    constraints: Members

    def __post_init__(self) -> None:
        """Raise DriftError if they are something else."""
        for name, content in (("statistics.json", self.statistics), ("constraints.json", self.constraints)):
            features = content.get("features") if isinstance(content, dict) else None
            if not isinstance(features, list) or not all(
                isinstance(item, dict) and "name" in item for item in features
            ):
                raise DriftError(f"{name} of the baseline has no features; use the files of a baseline")

    @property
    def names(self) -> list[str]:
        return [str(item["name"]) for item in self.constraints["features"]]

    @property
    def config(self) -> Members:
        found: Members = self.constraints.get("monitoring_config") or {}
        return found

    def statistics_of(self, name: str) -> Members:
        """Return the statistics of a feature; empty for one that is unknown."""
        found: Members = next((item for item in self.statistics["features"] if item["name"] == name), {})
        return found


@dataclass(frozen=True)
class Violation:
    """A constraint that does not hold."""

    feature: str
    check: str
    description: str

    def members(self) -> Members:
        """Return it as constraint_violations.json has it."""
        return {
            "feature_name": self.feature,
            "constraint_check_type": self.check,
            "description": self.description,
        }


@dataclass(frozen=True)
class DataQualityResult:
    """What is found in captured data."""

    columns: list[DataColumn]
    violations: list[Violation] = field(default_factory=list)
    distances: dict[str, Distance] = field(default_factory=dict)  # by feature

    @property
    def statistics(self) -> Members:
        return statistics_of(self.columns)

    def violations_file(self) -> Members:
        """Return the content of constraint_violations.json."""
        return {"violations": [violation.members() for violation in self.violations]}


def check_data_quality(columns: Sequence[DataColumn], baseline: Baseline) -> DataQualityResult:
    """Compare columns with a baseline."""
    found = {column.name: column for column in columns}
    violations = list(_names_violations([*found], baseline.names))
    distances: dict[str, Distance] = {}
    for constraint in baseline.constraints["features"]:
        column = found.get(str(constraint["name"]))
        if column is None:
            continue
        config = baseline.config | (constraint.get("monitoringConfigOverrides") or {})
        distance = _distance(column, baseline.statistics_of(column.name), config)
        if distance is not None:
            distances[column.name] = distance
        if config.get("evaluate_constraints", "Enabled") == "Enabled":
            violations += _violations(column, constraint, config, distance)
    return DataQualityResult(list(columns), violations, distances)


def _names_violations(found: Sequence[str], expected: Sequence[str]) -> Iterator[Violation]:
    counts = (
        f"Number of columns in current dataset: {len(found)}, Number of columns in baseline constraints:"
        f" {len(expected)}"
    )
    for check, word, names in (
        ("missing_column_check", "missing", [name for name in expected if name not in found]),
        ("extra_column_check", "extra", [name for name in found if name not in expected]),
    ):
        for name in names:
            yield Violation(name, check, f"There are {word} columns in current dataset. {counts}")


def _violations(
    column: DataColumn, constraint: Mapping[str, Any], config: Mapping[str, Any], distance: Distance | None
) -> Iterator[Violation]:
    name = column.name
    expected = InferredType(constraint.get("inferred_type", InferredType.UNKNOWN))
    share, least = column.share_of(expected), float(config.get("datatype_check_threshold", 1.0))
    if share < least:
        yield Violation(
            name,
            "data_type_check",
            f"Data type match requirement is not met. Expected data type: {expected}, Expected match: {least:.1%}."
            f" Observed: Only {share:.1%} of data is {expected}.",
        )
    complete = float(constraint.get("completeness", 0.0))
    if column.completeness < complete:
        yield Violation(
            name,
            "completeness_check",
            f"Completeness requirement is not met. Expected: {complete:.1%}. Observed: {column.completeness:.1%}.",
        )
    yield from _domain_violations(column, constraint, config)
    if distance is not None and distance.drifted:
        text = f"Baseline drift distance: {distance.value} exceeds threshold: {distance.threshold}"
        yield Violation(name, "baseline_drift_check", text)


def _domain_violations(
    column: DataColumn, constraint: Mapping[str, Any], config: Mapping[str, Any]
) -> Iterator[Violation]:
    domains = (constraint.get("string_constraints") or {}).get("domains")
    if not domains or not column.present:
        return
    inside = sum(column.texts[value] for value in domains) / column.present
    if inside < float(config.get("domain_content_threshold", 1.0)):
        yield Violation(
            column.name,
            "categorical_values_check",
            f"Value domain requirement is not met. Observed: Only {inside:.1%} of the values are in the domain.",
        )


def _distance(column: DataColumn, statistics: Mapping[str, Any], config: Mapping[str, Any]) -> Distance | None:
    comparison = config.get("distribution_constraints") or {}
    if comparison.get("perform_comparison", "Enabled") != "Enabled":
        return None
    if "numerical_statistics" in statistics:
        return numerical_distance(column, statistics["numerical_statistics"], comparison)
    if "string_statistics" in statistics:
        return categorical_distance(column, statistics["string_statistics"], comparison)
    return None
