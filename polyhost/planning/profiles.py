"""What each model needs: memory, the time of its load, the time of one call."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from polyhost.planning.errors import PlanningError

_MB = 1024 * 1024
_COLUMNS = {
    "memory_mb": ("memory_bytes", _MB),
    "cold_ms": ("cold_s", 1e-3),
    "hot_ms": ("hot_s", 1e-3),
    "download_ms": ("download_s", 1e-3),
}
# By what a user can say it for all models.
_OPTIONS = {"memory_bytes": "--memory-mb", "cold_s": "--cold-ms", "hot_s": "--hot-ms"}


@dataclass(frozen=True)
class ModelProfile:
    """What one model needs: bytes while it is loaded, seconds of a core for its load, and for one call.

    `download_s`: what its archive takes to come to a machine, before its first load there.
    """

    memory_bytes: int
    cold_s: float
    hot_s: float
    download_s: float = 0.0


@dataclass(frozen=True)
class PartialProfile:
    """What one source knows of a model; None is unknown."""

    memory_bytes: int | None = None
    cold_s: float | None = None
    hot_s: float | None = None
    download_s: float | None = None

    def or_else(self, other: "PartialProfile") -> "PartialProfile":
        """Return this, with what it does not know from the other."""
        unknown = {item.name for item in fields(self) if getattr(self, item.name) is None}
        return replace(self, **{name: getattr(other, name) for name in unknown})


UNKNOWN = PartialProfile()


class Profiles:
    """The profiles of all models: from several sources, the first of them that knows a figure, then for all alike."""

    def __init__(self, sources: Sequence[Mapping[str, PartialProfile]], otherwise: PartialProfile) -> None:
        self._sources = sources
        self._otherwise = otherwise

    def of(self, name: str) -> ModelProfile:
        """Return a model's profile. Raises PlanningError if a figure is not known."""
        found = UNKNOWN
        for source in (*(source.get(name, UNKNOWN) for source in self._sources), self._otherwise):
            found = found.or_else(source)
        if found.memory_bytes is None or found.cold_s is None or found.hot_s is None:
            options = [option for field, option in _OPTIONS.items() if getattr(found, field) is None]
            raise PlanningError(
                f"nothing says what model {name!r} needs; give {' and '.join(options)} for models that no file names"
            )
        return ModelProfile(found.memory_bytes, found.cold_s, found.hot_s, found.download_s or 0.0)


def read(path: Path) -> dict[str, PartialProfile]:
    """Read a CSV with a header: `model`, and any of `memory_mb`, `cold_ms`, `hot_ms`, `download_ms`.

    Raises PlanningError.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            _check_header(path, reader.fieldnames or ())
            return {row["model"]: _profile_of(row, path, reader.line_num) for row in reader}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PlanningError(f"cannot read the profiles {path}: {error}") from error


def _check_header(path: Path, names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in ("model", *_COLUMNS)]
    if "model" not in names or unknown:
        header = ",".join(names)
        raise PlanningError(f"the profiles {path}: the header is {header!r}; it may have model, {', '.join(_COLUMNS)}")


def _profile_of(row: Mapping[str, str | None], path: Path, line: int) -> PartialProfile:
    if not row["model"]:
        raise PlanningError(f"the profiles {path}, line {line}: it names no model")
    found: dict[str, float] = {}
    for column, (field, factor) in _COLUMNS.items():
        value = (row.get(column) or "").strip()
        if value:
            found[field] = _number(value, f"the profiles {path}, line {line}: {column}") * factor
    memory = found.pop("memory_bytes", None)
    return PartialProfile(None if memory is None else int(memory), **found)


def _number(value: str, where: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise PlanningError(f"{where} is {value!r}; it must be a number, 0 or more")
    return number
