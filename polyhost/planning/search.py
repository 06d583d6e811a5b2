"""How many machines are enough."""

from collections.abc import Callable
from dataclasses import dataclass

from polyhost.planning.outcome import PlanOutcome


@dataclass(frozen=True)
class PlanTarget:
    """What is wanted: at most this p99 and this share of cold calls; None is any."""

    p99_s: float | None = None
    cold_share: float | None = None

    def is_met_by(self, outcome: PlanOutcome) -> bool:
        return (self.p99_s is None or outcome.p99_s <= self.p99_s) and (
            self.cold_share is None or outcome.cold_share <= self.cold_share
        )


def fewest(simulate: Callable[[int], PlanOutcome], target: PlanTarget, maximum: int) -> tuple[PlanOutcome, bool]:
    """Return the outcome with the fewest machines that meet the target, and True; or that of the maximum, and False.

    Doubles, then bisects, which takes it that more machines are never worse. With one machine less than the result,
    the target was seen to be missed.
    """
    too_few, enough = 0, 1
    found = simulate(enough)
    while not target.is_met_by(found):
        if enough == maximum:
            return found, False
        too_few, enough = enough, min(2 * enough, maximum)
        found = simulate(enough)
    while enough - too_few > 1:
        between = (too_few + enough) // 2
        outcome = simulate(between)
        if target.is_met_by(outcome):
            enough, found = between, outcome
        else:
            too_few = between
    return found, True
