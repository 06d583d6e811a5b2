"""Rows of figures beside the stock stack, for the benchmarks of one framework or a few."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.client import ResponseError
from benchmarks.cold import limit
from benchmarks.effort import Effort
from benchmarks.models import Kind, Shelf
from benchmarks.servers import Stack, native, polyhost, stock
from polyhost.processes import ProcessError

# Yields the name of a stage and its figures.
Measure = Callable[[Stack, Kind, Shelf, Effort], Iterator[tuple[str, dict[str, float]]]]


def print_row(kind: Kind, what: str, stage: str, figures: dict[str, float]) -> None:
    text = ", ".join(f"{name.replace('_', ' ')} {value:,.1f}" for name, value in figures.items())
    print(f"{kind.name:8} {what:10} {stage:8} {text}", flush=True)


def beside_stock(python: Path, shelf: Shelf, kinds: Sequence[Kind], effort: Effort, measure: Measure) -> int:
    """Print the rows of each kind: the limit, the stock stack and polyhost's front ends; return the exit status."""
    failed = False
    for kind in kinds:
        print_row(kind, "limit", "cold", limit(python, shelf, kind, effort.samples))
        zygote = {"POLYHOST_ZYGOTES": kind.framework}
        for stack in (stock(python, kind.framework), polyhost(**zygote), native(**zygote)):
            try:
                for stage, figures in measure(stack, kind, shelf, effort):
                    print_row(kind, stack.name, stage, figures)
            except (ResponseError, ProcessError, OSError) as error:
                failed = True
                print(f"{kind.name:8} {stack.name:10} failed: {error}", file=sys.stderr)
    return int(failed)
