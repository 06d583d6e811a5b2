"""The option `--time-scale`: how long the emulator waits where AWS waits for minutes."""

from dataclasses import dataclass
from typing import Self

from polyhost.emulator.errors import StartError

_LEAST = 0.005  # then an alarm's shortest period, 10 s, has 50 ms


@dataclass(frozen=True)
class TimeScale:
    """Translates seconds as requests have them, such as an alarm's period, into seconds that pass.

    What takes its time, such as the start of a container, is not scaled.
    """

    factor: float = 1.0

    @classmethod
    def of_option(cls, factor: float) -> Self:
        """Return the scale that a user asks for. Raises StartError."""
        if not _LEAST <= factor <= 1:
            raise StartError(f"invalid time scale {factor}; give --time-scale a factor from {_LEAST} to 1")
        return cls(factor)

    def passing(self, seconds: float) -> float:
        """Return the seconds that pass."""
        return seconds * self.factor
