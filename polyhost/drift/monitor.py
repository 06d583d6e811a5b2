"""The work of Model Monitor on files: a baseline of a data set, and captures beside a baseline."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from polyhost.drift.captures import Attributes, CapturedCall, read_calls
from polyhost.drift.data_quality import Baseline, DataQualityResult, check_data_quality
from polyhost.drift.errors import DriftError
from polyhost.drift.statistics import constraints_of, statistics_of
from polyhost.drift.tables import columns_of, read_dataset, rows_of_calls

STATISTICS, CONSTRAINTS, VIOLATIONS = "statistics.json", "constraints.json", "constraint_violations.json"


def suggest_baseline(path: Path, header: bool = True) -> Baseline:
    """Return the baseline of a data set in CSV or in lines of JSON. Raises DriftError."""
    columns = read_dataset(path, header)
    if not any(column.present for column in columns):
        raise DriftError(f"the data set {path.name} has no values; a baseline needs some")
    return Baseline(statistics_of(columns), constraints_of(columns))


def read_baseline(path: Path) -> Baseline:
    """Return the baseline in a folder with statistics.json and constraints.json, or that of a data set.

    Raises DriftError.
    """
    if path.is_dir():
        return Baseline(read_json(path / STATISTICS), read_json(path / CONSTRAINTS))
    return suggest_baseline(path)


def read_captures(path: Path, attributes: Attributes | None = None) -> Iterator[CapturedCall]:
    """Return what is in a file of captures, or in all such files of a folder. Raises DriftError."""
    files = sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]
    if not files:
        raise DriftError(f"there is no *.jsonl in {path}; give the folder of captures")
    for file in files:
        try:
            with file.open("rb") as lines:
                yield from read_calls(lines, str(file), attributes)
        except OSError as error:
            raise DriftError(f"cannot read {file}: {error.strerror}; check the path") from error


def data_quality(calls: Iterable[CapturedCall], baseline: Baseline) -> DataQualityResult:
    """Compare captured calls with a baseline. Raises DriftError without calls."""
    names = baseline.names
    rows = rows_of_calls(calls, len(names))
    if not rows:
        raise DriftError("there is nothing to analyse: no captured invocation has a body")
    return check_data_quality(columns_of(rows, names), baseline)


def read_json(path: Path) -> Any:
    """Return the content of a file of JSON. Raises DriftError."""
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise DriftError(f"cannot read {path}: {error.strerror}; give a folder with {path.name}") from error
    except (ValueError, RecursionError) as error:
        raise DriftError(f"{path} is not JSON: {error}; write it again") from error
