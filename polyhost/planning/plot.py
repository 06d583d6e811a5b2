"""A plan as a picture: cold share and p99 by the number of machines."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from polyhost.planning.errors import PlanningError
from polyhost.planning.outcome import PlanOutcome
from polyhost.planning.search import PlanTarget


def check_available() -> None:
    """Raise PlanningError if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise PlanningError("--plot needs matplotlib: pip install 'polyhost[plot]'") from error


def write(path: Path, outcomes: Mapping[str, Sequence[PlanOutcome]], target: PlanTarget) -> None:
    """Write a picture of the outcomes by type of machine; its format follows from the file's name.

    Raises PlanningError.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    cold, late = figure.subplots(2, 1, sharex=True)
    for name, found in outcomes.items():
        numbers = [outcome.machines for outcome in found]
        cold.plot(numbers, [100 * outcome.cold_share for outcome in found], marker="o", label=name)
        late.plot(numbers, [1000 * outcome.p99_s for outcome in found], marker="o", label=name)
    if target.cold_share is not None:
        cold.axhline(100 * target.cold_share, linestyle="--", color="grey")
    if target.p99_s is not None:
        late.axhline(1000 * target.p99_s, linestyle="--", color="grey")
    cold.set_ylabel("cold calls, %")
    late.set_ylabel("p99, ms")
    late.set_yscale("log")
    late.set_xlabel("machines")
    late.xaxis.get_major_locator().set_params(integer=True)
    cold.legend()
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise PlanningError(f"cannot write the plot {path}: {error}") from error
