"""Columns of data, whatever they hold: how many cells are numbers, how many are missing."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from polyhost.drift.captures import CapturedCall, Row, rows_of_json
from polyhost.drift.errors import DriftError


class InferredType(StrEnum):
    """Types of columns in statistics.json and constraints.json."""

    INTEGRAL = "Integral"
    FRACTIONAL = "Fractional"
    STRING = "String"
    UNKNOWN = "Unknown"


@dataclass(frozen=True)
class DataColumn:
    """A column's cells, sorted by what they are; `texts` has all that are not missing."""

    name: str
    count: int
    numbers: "np.ndarray[Any, np.dtype[np.float64]]"
    integral: int  # of the numbers
    texts: Counter[str]

    @property
    def present(self) -> int:
        return sum(self.texts.values())

    @property
    def completeness(self) -> float:
        """The share of cells that are not missing."""
        return self.present / self.count if self.count else 0.0

    @property
    def type(self) -> InferredType:
        if not self.present:
            return InferredType.UNKNOWN
        if len(self.numbers) < self.present:
            return InferredType.STRING
        return InferredType.INTEGRAL if self.integral == len(self.numbers) else InferredType.FRACTIONAL

    def share_of(self, wanted: InferredType) -> float:
        """Return the share of present cells that fit a type; whole numbers are fractional ones too."""
        if not self.present or wanted in (InferredType.STRING, InferredType.UNKNOWN):
            return 1.0
        fitting = self.integral if wanted is InferredType.INTEGRAL else len(self.numbers)
        return fitting / self.present


def columns_of(rows: Sequence[Row], names: Sequence[str] = ()) -> list[DataColumn]:
    """Return the columns of rows. Those without names get `names` by position if there are as many."""
    named = any(isinstance(row, dict) for row in rows)
    if named and not all(isinstance(row, dict) for row in rows):
        raise DriftError("some rows have names and some have none; use one format for all requests")
    frame = pd.DataFrame(rows, dtype=object)
    if not named:
        width = len(frame.columns)
        frame.columns = pd.Index(names if len(names) == width else [f"_c{index}" for index in range(width)])
    return [_column(str(name), frame[name]) for name in frame.columns]


def rows_of_calls(calls: Iterable[CapturedCall], baseline_width: int | None = None) -> list[Row]:
    """Return the rows of calls: each output before its input, as Model Monitor has them.

    If a baseline has exactly as many columns as the inputs, it is one of inputs only.
    """
    rows: list[Row] = []
    for call in calls:
        paired = call.inputs and len(call.inputs) == len(call.outputs)
        if not paired or (baseline_width is not None and len(call.inputs[0]) == baseline_width):
            rows += call.inputs or call.outputs
        else:
            rows += [_joined(output, given) for output, given in zip(call.outputs, call.inputs, strict=True)]
    return rows


def read_dataset(path: Path, header: bool = True) -> list[DataColumn]:
    """Return the columns of a file of CSV, or of lines of JSON. Raises DriftError."""
    try:
        if path.suffix in (".json", ".jsonl"):
            lines = [line for line in path.read_text().splitlines() if line.strip()]
            return columns_of([row for line in lines for row in rows_of_json(json.loads(line))])
        frame = pd.read_csv(path, header=0 if header else None, dtype=str, keep_default_na=False)
    except (OSError, ValueError, RecursionError) as error:
        raise DriftError(f"cannot read the data set {path.name}: {error}; use CSV or lines of JSON") from error
    if not header:
        frame.columns = pd.Index([f"_c{index}" for index in range(len(frame.columns))])
    return [_column(str(name), frame[name]) for name in frame.columns]


def _joined(output: Row, given: Row) -> Row:
    if isinstance(output, dict) and isinstance(given, dict):
        return output | given
    if isinstance(output, list) and isinstance(given, list):
        return output + given
    named, unnamed = (output, given) if isinstance(output, dict) else (given, output)
    assert isinstance(named, dict)
    extra = {f"_c{index}": value for index, value in enumerate(unnamed)}
    return named | extra if named is output else extra | named


def _column(name: str, cells: "pd.Series[Any]") -> DataColumn:
    present = cells[~(cells.isna() | (cells.astype(str).str.strip() == ""))]
    numbers = pd.to_numeric(present.map(_number), errors="coerce").dropna()
    values = numbers.to_numpy(dtype=np.float64)
    values = values[np.isfinite(values)]
    texts = Counter(present.map(str))
    return DataColumn(name, len(cells), np.sort(values), int((values == np.floor(values)).sum()), texts)


def _number(cell: Any) -> Any:
    return None if isinstance(cell, bool) else cell
