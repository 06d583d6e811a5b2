"""A recorded load: a file of calls, as CSV with a header or as lines of JSON."""

import csv
import json
import math
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from polyhost.planning.calls import PlannedCall
from polyhost.planning.errors import PlanningError

_SHOWN = 100  # characters of a line that cannot be used


def read(path: Path, time_key: str = "time", model_key: str = "model") -> list[PlannedCall]:
    """Return a file's calls by time, the first at 0.

    Each has a time, as a number of seconds or in ISO 8601, and a model. The first line tells the form: JSON begins with
    a brace. Empty lines are skipped. Raises PlanningError, which names the file and the line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            calls = sorted(_calls(lines, path, time_key, model_key))
    except (OSError, UnicodeDecodeError) as error:
        raise PlanningError(f"cannot read the trace {path}: {error}") from error
    if not calls:
        raise PlanningError(f"the trace {path} has no calls; each line is one, with {time_key} and {model_key}")
    start = calls[0].time
    return [PlannedCall(call.time - start, call.model) for call in calls]


def _calls(lines: Iterable[str], path: Path, time_key: str, model_key: str) -> Iterator[PlannedCall]:
    for number, row in _rows(lines, path, (time_key, model_key)):
        try:
            yield PlannedCall(_seconds(row[time_key]), _name(row[model_key]))
        except KeyError as error:
            raise _broken(path, number, f"it has no {error}", row) from None
        except ValueError as error:
            raise _broken(path, number, str(error), row) from None


def _rows(lines: Iterable[str], path: Path, keys: tuple[str, str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each line's number and fields."""
    header: list[str] | None = None
    is_json = False
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if is_json or (header is None and line.lstrip().startswith("{")):
            is_json = True
            yield number, _json_of(line, path, number)
        elif header is None:
            header = _fields(line)
            if missing := [key for key in keys if key not in header]:
                raise _broken(path, number, f"neither JSON nor a header with {' and '.join(missing)}", line)
        else:
            yield number, _csv_of(line, header, path, number)


def _json_of(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise _broken(path, number, f"not JSON: {error}", line) from None
    if not isinstance(found, dict):
        raise _broken(path, number, "no object", line)
    return found


def _csv_of(line: str, header: list[str], path: Path, number: int) -> dict[str, Any]:
    fields = _fields(line)
    if len(fields) != len(header):
        raise _broken(path, number, f"{len(fields)} fields, and the header has {len(header)}", line)
    return dict(zip(header, fields, strict=True))


def _fields(line: str) -> list[str]:
    return [field.strip() for field in next(csv.reader([line]))]


def _seconds(value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        try:
            return datetime.fromisoformat(value).timestamp()
        except (TypeError, ValueError):
            raise ValueError(f"{value!r} is no time; use seconds or ISO 8601") from None
    if not math.isfinite(seconds):
        raise ValueError(f"{value!r} is no time; use seconds or ISO 8601")
    return seconds


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is no name of a model")
    return value


def _broken(path: Path, number: int, why: str, line: Any) -> PlanningError:
    text = line.strip() if isinstance(line, str) else json.dumps(line)
    return PlanningError(f"the trace {path}, line {number}: {why}: {text[:_SHOWN]}")
