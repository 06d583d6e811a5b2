"""The table that `polyhost plan` prints."""

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from polyhost.cli.errors import CommandError
from polyhost.planning.calls import PlannedCall
from polyhost.planning.outcome import PlanOutcome
from polyhost.planning.plans import MachinePlan

_MIN_WIDTH = 120  # a row is one line where the output is no terminal
_FIRST_CALLS = "what is cold are first calls, which a longer --warm-up leaves out"
_NUMBERS = ("machines", "memory", "cores", "hit rate", "cold", "loads", "p50", "p99", "busy")


def print_table(plans: Sequence[MachinePlan], calls: Sequence[PlannedCall]) -> None:
    """Print a line for each type that can be used, and why the others cannot. Raise CommandError if none can."""
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _MIN_WIDTH)
    if all(plan.outcome is None for plan in plans):
        raise CommandError("; ".join(f"{plan.machine.name}: {plan.error}" for plan in plans))
    models = len({call.model for call in calls})
    table = Table(
        box=SIMPLE, title=f"{_count(len(calls), 'call')} to {_count(models, 'model')} in {calls[-1].time:,.0f} s"
    )
    table.add_column("type", no_wrap=True)
    for name in _NUMBERS:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("enough", no_wrap=True)
    for plan in plans:
        if plan.outcome is not None:
            table.add_row(plan.machine.name, *_figures(plan, plan.outcome), "yes" if plan.enough else "no")
    console.print(table)
    for plan in plans:
        if plan.outcome is None:
            console.print(f"{plan.machine.name}: {plan.error}", soft_wrap=True)
        elif not plan.enough and not plan.outcome.evictions:
            console.print(f"{plan.machine.name}: nothing is evicted; {_FIRST_CALLS}", soft_wrap=True)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + "s" * (number != 1)


def _figures(plan: MachinePlan, outcome: PlanOutcome) -> tuple[str, ...]:
    return (
        str(outcome.machines),
        f"{plan.memory_bytes / (1 << 20):,.0f} MB",
        str(plan.machine.cores),
        f"{outcome.hit_rate:.1%}",
        f"{outcome.cold_share:.2%}",
        f"{outcome.loads:,}",
        f"{outcome.p50_s * 1e3:,.1f} ms",
        f"{outcome.p99_s * 1e3:,.1f} ms",
        f"{outcome.utilization:.0%}",
    )
