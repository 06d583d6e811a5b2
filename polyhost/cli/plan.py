"""`polyhost plan`: how many machines of which type a load takes, by simulation."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from polyhost.cli import output, plan_inputs
from polyhost.cli import plan_options as options
from polyhost.cli.errors import CommandError
from polyhost.cli.plan_inputs import LoadOptions, ModelOptions
from polyhost.cli.plan_table import print_table
from polyhost.planning import machines, plot
from polyhost.planning.calls import PlannedCall
from polyhost.planning.errors import PlanningError
from polyhost.planning.plans import MachinePlan, Planner
from polyhost.planning.search import PlanTarget

_MB = 1024 * 1024
_CONTAINER_MB = 1024  # docs/performance.md: 954 MB with all zygotes


def plan(
    trace: options.Trace = None,
    time_key: options.TimeKey = "time",
    model_key: options.ModelKey = "model",
    models: options.ModelCount = None,
    exponent: options.Exponent = None,
    rate: options.Rate = None,
    seconds: options.Seconds = 600,
    seed: options.Seed = 1,
    warm_up: options.WarmUp = None,
    store: options.StoreFolder = None,
    state: options.StateFolder = None,
    metrics: options.MetricsSource = None,
    profiles: options.ProfilesFile = None,
    memory_mb: options.MemoryMb = None,
    cold_ms: options.ColdMs = None,
    hot_ms: options.HotMs = None,
    download_ms: options.DownloadMs = None,
    machine_types: options.MachineTypes = None,
    container_mb: options.ContainerMb = _CONTAINER_MB,
    reserve_mb: options.ReserveMb = None,
    balance_factor: options.BalanceFactor = None,
    number: options.MachineCount = None,
    max_machines: options.MaxMachines = 64,
    p99_ms: options.P99Ms = None,
    cold_share: options.ColdShare = None,
    plot_file: options.PlotFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Simulate a load on machines, and tell how many of which type are enough.

    Exit status 1 if no type is enough.
    """
    target = PlanTarget(None if p99_ms is None else p99_ms / 1e3, cold_share)
    if number is None and target == PlanTarget():
        raise typer.BadParameter("give what is wanted, --p99-ms or --cold-share, or a number of --machines")
    if not machine_types:
        raise typer.BadParameter("give at least one --type, such as ml.m5.large or mine=16000MB,4")
    load_options = LoadOptions(trace, time_key, model_key, models, exponent, rate, seconds, seed)
    model_options = ModelOptions(profiles, metrics, store, state, memory_mb, cold_ms, hot_ms, download_ms)
    wanted = _Wanted(machine_types, container_mb, reserve_mb, balance_factor, number, max_machines, target)
    try:
        plans, calls = _plans(load_options, model_options, wanted, _warm_up_s(warm_up, trace, seconds), plot_file)
    except PlanningError as error:
        raise CommandError(str(error)) from error
    _print(plans, calls, as_json)
    if not any(one.enough for one in plans):
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Wanted:
    """The machines to try, and what is wanted of them."""

    types: list[str]
    container_mb: int
    reserve_mb: int | None
    balance_factor: float | None
    number: int | None
    maximum: int
    target: PlanTarget


def _plans(
    load: LoadOptions, models: ModelOptions, wanted: _Wanted, warm_up_s: float, picture: Path | None
) -> tuple[list[MachinePlan], list[PlannedCall]]:
    """Return a plan for each type of machine, and the calls; draw the picture. Raises PlanningError."""
    if picture is not None:
        plot.check_available()
    types = [machines.parse(name) for name in dict.fromkeys(wanted.types)]
    known = plan_inputs.models(models)
    calls = plan_inputs.load(load, known)
    planner = Planner(
        calls,
        known.profiles,
        container_bytes=wanted.container_mb * _MB,
        reserve_bytes=None if wanted.reserve_mb is None else wanted.reserve_mb * _MB,
        balance_factor=wanted.balance_factor,
        warm_up_s=warm_up_s,
    )
    plans = [planner.plan(one, target=wanted.target, number=wanted.number, maximum=wanted.maximum) for one in types]
    if picture is not None:
        curves = {one.machine.name: planner.curve(one) for one in plans if one.outcome}
        plot.write(picture, curves, wanted.target)
    return plans, calls


def _warm_up_s(given: float | None, trace: Path | None, seconds: float) -> float:
    if given is not None:
        return given
    return 0.0 if trace is not None else seconds / 2


def _print(plans: list[MachinePlan], calls: list[PlannedCall], as_json: bool) -> None:
    if as_json:
        load = {"calls": len(calls), "models": len({call.model for call in calls}), "seconds": round(calls[-1].time, 3)}
        output.print_json({"load": load, "plans": [_json_of(one) for one in plans]})
    else:
        print_table(plans, calls)


def _json_of(one: MachinePlan) -> dict[str, Any]:
    return {
        "type": one.machine.name,
        "memory_for_models_mb": one.memory_bytes // _MB,
        "cores": one.machine.cores,
        "enough": one.enough,
        **({"error": one.error} if one.outcome is None else asdict(one.outcome)),
    }
