"""What was measured."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """The figures of one stage with one model on one stack; each figure's name ends with its unit."""

    stage: str
    model: str
    stack: str
    figures: dict[str, float]


@dataclass
class Results:
    """All measurements of one run."""

    measurements: list[Measurement] = field(default_factory=list)

    def add(self, stage: str, model: str, stack: str, figures: dict[str, float]) -> None:
        rounded = {name: round(value, 3) for name, value in figures.items()}
        self.measurements.append(Measurement(stage, model, stack, rounded))

    def get(self, stage: str, model: str, stack: str, figure: str) -> float | None:
        """Return a figure, or None if it was not measured in this run."""
        for found in self.measurements:
            if (found.stage, found.model, found.stack) == (stage, model, stack):
                return found.figures.get(figure)
        return None

    def models(self, stage: str) -> list[str]:
        """Return the models of a stage in the order in which they were measured."""
        return list(dict.fromkeys(found.model for found in self.measurements if found.stage == stage))

    def has(self, stack: str) -> bool:
        return any(found.stack == stack for found in self.measurements)

    @classmethod
    def from_json(cls, entries: list[dict[str, Any]]) -> "Results":
        return cls([Measurement(**entry) for entry in entries])
