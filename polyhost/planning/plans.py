"""A plan for each type of machine."""

from collections.abc import Sequence
from dataclasses import dataclass

from polyhost.planning.calls import PlannedCall
from polyhost.planning.errors import ModelTooLargeError
from polyhost.planning.machines import Machine
from polyhost.planning.outcome import PlanOutcome
from polyhost.planning.profiles import Profiles
from polyhost.planning.search import PlanTarget, fewest
from polyhost.planning.simulation import check_fits, simulate

# A load balancer's hash is another one than ours, so a plan must not depend on a lucky throw.
_PLACEMENTS = 3
_CURVE_BEYOND = 2  # machines more than a plan's, in its picture
_CURVE_POINTS = 12


@dataclass(frozen=True)
class MachinePlan:
    """What a number of machines of one type would do; without an outcome, `error` says why the type cannot be used.

    `memory_bytes`: what each machine has for models.
    """

    machine: Machine
    memory_bytes: int
    outcome: PlanOutcome | None
    enough: bool
    error: str = ""


class Planner:
    """Makes plans for one load: the worst of some placements. Each number of machines of a type is tried once."""

    def __init__(
        self,
        calls: Sequence[PlannedCall],
        profiles: Profiles,
        *,
        container_bytes: int,
        reserve_bytes: int | None,
        balance_factor: float | None,
        warm_up_s: float,
    ) -> None:
        self._calls = calls
        self._profiles = profiles
        self._container_bytes = container_bytes
        self._reserve_bytes = reserve_bytes
        self._balance_factor = balance_factor
        self._warm_up_s = warm_up_s
        self._outcomes: dict[tuple[Machine, int], PlanOutcome] = {}
        self._names = dict.fromkeys(call.model for call in calls)

    def plan(self, machine: Machine, target: PlanTarget, number: int | None, maximum: int) -> MachinePlan:
        """Plan with this number of machines, or with the fewest that meet the target, up to a maximum.

        Raises PlanningError.
        """
        memory = self._memory_of(machine)
        try:
            for name in self._names:
                check_fits(name, self._profiles.of(name), memory)
        except ModelTooLargeError as error:
            return MachinePlan(machine, memory, None, False, str(error))
        if number is not None:
            outcome = self._simulate(machine, number)
            return MachinePlan(machine, memory, outcome, target.is_met_by(outcome))
        outcome, enough = fewest(lambda count: self._simulate(machine, count), target, maximum)
        return MachinePlan(machine, memory, outcome, enough)

    def curve(self, plan: MachinePlan) -> list[PlanOutcome]:
        """Return outcomes from one machine to a few more than the plan has."""
        assert plan.outcome is not None
        last = plan.outcome.machines + _CURVE_BEYOND
        step = max(1, last // _CURVE_POINTS)
        numbers = sorted({1, *range(step, last + 1, step), plan.outcome.machines})
        return [self._simulate(plan.machine, number) for number in numbers]

    def _memory_of(self, machine: Machine) -> int:
        return machine.for_models(self._container_bytes, self._reserve_bytes)

    def _simulate(self, machine: Machine, number: int) -> PlanOutcome:
        found = self._outcomes.get((machine, number))
        if found is None:
            placements = range(_PLACEMENTS if number > 1 else 1)
            worst = PlanOutcome.worst(self._simulate_once(machine, number, placement) for placement in placements)
            found = self._outcomes[machine, number] = worst
        return found

    def _simulate_once(self, machine: Machine, number: int, placement: int) -> PlanOutcome:
        return simulate(
            self._calls,
            self._profiles,
            memory_bytes=self._memory_of(machine),
            cores=machine.cores,
            machines=number,
            placement=placement,
            balance_factor=self._balance_factor,
            warm_up_s=self._warm_up_s,
        )
