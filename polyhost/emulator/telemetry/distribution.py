"""The values of a metric within a second, in little memory, for percentiles."""

import math
from array import array
from collections.abc import Iterator

_MOST_EXACT = 64  # different values; more of them are rounded to 2 %
_STEP = math.log(1.02)


class Distribution:
    """Values with their counts."""

    def __init__(self) -> None:
        self._counts: dict[float, int] = {}
        self._rounds = False

    def add(self, value: float) -> None:
        """Count a value."""
        if self._rounds:
            value = _rounded(value)
        self._counts[value] = self._counts.get(value, 0) + 1
        if len(self._counts) > _MOST_EXACT and not self._rounds:
            self._rounds = True
            exact, self._counts = self._counts, {}
            for known, count in exact.items():
                known = _rounded(known)
                self._counts[known] = self._counts.get(known, 0) + count

    def packed(self) -> "PackedDistribution":
        """Return the values for keeping."""
        return PackedDistribution(array("d", self._counts), array("L", self._counts.values()))


class PackedDistribution:
    """Values with their counts, 16 bytes for each different one."""

    def __init__(self, values: "array[float]", counts: "array[int]") -> None:
        self._values = values
        self._counts = counts

    def items(self) -> Iterator[tuple[float, int]]:
        """Yield values with their counts, in no order."""
        return zip(self._values, self._counts, strict=True)


def _rounded(value: float) -> float:
    if value == 0 or not math.isfinite(value):
        return value
    return math.copysign(math.exp(round(math.log(abs(value)) / _STEP) * _STEP), value)
