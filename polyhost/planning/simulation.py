"""A load on a number of equal machines, simulated call by call.

- A call goes to the machine that consistent hashing gives its model; with a balance factor, past those that have more
  than their part of the running calls.
- Each machine keeps models in memory until one does not fit; then those called longest ago go.
- A machine fetches a model before its first load, which takes time and no core, and keeps it on its disk.
- A machine has one queue and as many servers as cores, first come, first served. A load takes a core for the model's
  cold time, a call one for its hot time. Calls to a model that is being loaded wait for that load, without a core.
"""

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush, heapreplace

from polyhost.planning.calls import PlannedCall
from polyhost.planning.errors import ModelTooLargeError, PlanningError
from polyhost.planning.lru import LruMemory
from polyhost.planning.outcome import PlanOutcome
from polyhost.planning.placement import first_below, order_of
from polyhost.planning.profiles import ModelProfile, Profiles


class _Load:
    """One load of a model on one machine, and the calls that wait for it."""

    def __init__(self, machine: "_Machine", model: str) -> None:
        self.machine = machine
        self.model = model
        self.waiting: list[PlannedCall] = []
        self.has_core = False  # else the model is being fetched


class _Machine:
    """One machine at one moment of the simulation. Calls from `counted_from` on are counted, in seconds."""

    def __init__(self, number: int, memory_bytes: int, cores: int, counted_from: float) -> None:
        self.number = number
        self.calls = 0
        self.cold = 0
        self.loads = 0
        self.evictions = 0
        self.busy_s = 0.0  # of all cores, uncounted calls included
        self.last_end = 0.0
        self.loading: dict[str, _Load] = {}
        self.on_disk_at: dict[str, float] = {}  # by model: when its fetch ends
        self._memory = LruMemory(memory_bytes)
        self._counted_from = counted_from
        self._free_at = [0.0] * cores  # a heap

    def use(self, call: PlannedCall, memory_bytes: int) -> bool:
        """Use the model, and return whether it was in memory or on its way there; else a load is to begin."""
        evictions = self._memory.evictions
        there = self._memory.use(call.model, memory_bytes)
        if call.time >= self._counted_from:
            self.calls += 1
            self.loads += not there
            self.cold += not there or call.model in self.loading
            self.evictions += self._memory.evictions - evictions
        return there

    def work(self, time: float, seconds: float) -> float:
        """Take the core that is free first, from this time on; return when it is done."""
        end = max(time, self._free_at[0]) + seconds
        heapreplace(self._free_at, end)
        self.busy_s += seconds
        self.last_end = max(self.last_end, end)
        return end


class _Simulation:
    """Calls in the order of their times, and between them the ends of what they wait for."""

    def __init__(
        self,
        profiles: Profiles,
        memory_bytes: int,
        machines: list[_Machine],
        placement: int,
        balance_factor: float | None,
    ) -> None:
        self.machines = machines
        self._placement = placement
        self._memory_bytes = memory_bytes
        self._profiles = profiles
        self._known: dict[str, ModelProfile] = {}
        self._balance_factor = balance_factor
        self._events: list[tuple[float, int, _Load]] = []  # a heap: the end of a fetch, or of a load; its order
        self._running = [0] * len(machines)  # calls, waiting ones included
        self._ends: list[tuple[float, int]] = []  # a heap: when a call ends, and its machine; kept for the balance only
        self._count = 0  # of events

    def latencies(self, calls: Iterable[PlannedCall]) -> Iterator[tuple[PlannedCall, float]]:
        """Yield each call with its seconds, in the order in which they get a core."""
        for call in calls:
            yield from self._until(call.time)
            profile = self._profile(call.model)
            machine = self._choose(call)
            self._running[machine.number] += 1
            if not machine.use(call, profile.memory_bytes):
                self._begin(machine, call, profile)
            load = machine.loading.get(call.model)
            if load is None:
                yield call, self._end(machine, call.time, profile) - call.time
            else:
                load.waiting.append(call)
        yield from self._until(float("inf"))

    def _begin(self, machine: _Machine, call: PlannedCall, profile: ModelProfile) -> None:
        load = machine.loading[call.model] = _Load(machine, call.model)
        there = machine.on_disk_at.setdefault(call.model, call.time + profile.download_s)
        if there <= call.time:
            self._load(load, call.time)
        else:
            self._at(there, load)

    def _load(self, load: _Load, time: float) -> None:
        load.has_core = True
        self._at(load.machine.work(time, self._known[load.model].cold_s), load)

    def _at(self, time: float, load: _Load) -> None:
        self._count += 1
        heappush(self._events, (time, self._count, load))

    def _until(self, time: float) -> Iterator[tuple[PlannedCall, float]]:
        """Let all happen up to this time, and yield the calls that get a core."""
        while self._events and self._events[0][0] <= time:
            now, _, load = heappop(self._events)
            if not load.has_core:
                self._load(load, now)
                continue
            machine = load.machine
            if machine.loading.get(load.model) is load:  # else it was evicted meanwhile, and is being loaded again
                del machine.loading[load.model]
            for call in load.waiting:
                yield call, self._end(machine, now, self._known[call.model]) - call.time

    def _end(self, machine: _Machine, time: float, profile: ModelProfile) -> float:
        end = machine.work(time, profile.hot_s)
        if self._balance_factor is not None:
            heappush(self._ends, (end, machine.number))
        return end

    def _choose(self, call: PlannedCall) -> _Machine:
        order = order_of(call.model, len(self.machines), self._placement)
        if self._balance_factor is None:
            return self.machines[order[0]]
        while self._ends and self._ends[0][0] <= call.time:
            self._running[heappop(self._ends)[1]] -= 1
        return self.machines[first_below(order, self._running, self._balance_factor)]

    def _profile(self, model: str) -> ModelProfile:
        profile = self._known.get(model)
        if profile is None:
            profile = self._known[model] = self._profiles.of(model)
            check_fits(model, profile, self._memory_bytes)
        return profile


def check_fits(model: str, profile: ModelProfile, memory_bytes: int) -> None:
    """Check that a machine with this memory for models can hold the model. Raises ModelTooLargeError."""
    if profile.memory_bytes > memory_bytes:
        raise ModelTooLargeError(
            f"model {model!r} takes {_mb(profile.memory_bytes)}, and the machine has {_mb(memory_bytes)} for models;"
            " take a larger type"
        )


def simulate(
    calls: Iterable[PlannedCall],
    profiles: Profiles,
    *,
    memory_bytes: int,
    cores: int,
    machines: int,
    placement: int = 0,
    balance_factor: float | None = None,
    warm_up_s: float = 0.0,
) -> PlanOutcome:
    """Simulate the calls, which are in the order of their times, on machines with this memory for models.

    Which models share a machine is chance; another number for the `placement` is another throw.
    The calls of the first `warm_up_s` seconds are made and not counted. Raises PlanningError.
    """
    states = [_Machine(number, memory_bytes, cores, warm_up_s) for number in range(machines)]
    simulation = _Simulation(profiles, memory_bytes, states, placement, balance_factor)
    latencies = [seconds for call, seconds in simulation.latencies(calls) if call.time >= warm_up_s]
    if not latencies:
        raise PlanningError(
            f"there are no calls after the warm-up of {warm_up_s:g} s; make it shorter, or the load longer"
        )
    last_end = max(state.last_end for state in states)
    return PlanOutcome.of(
        latencies=latencies,
        cold=sum(state.cold for state in states),
        loads=sum(state.loads for state in states),
        evictions=sum(state.evictions for state in states),
        calls_by_machine=[state.calls for state in states],
        utilization=sum(state.busy_s for state in states) / (last_end * cores * machines) if last_end else 0.0,
    )


def _mb(count: int) -> str:
    return f"{count / (1 << 20):.0f} MB"
