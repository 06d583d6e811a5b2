"""polyhost beside the stock stack, on the same models, in one run. scripts/bench runs this."""

import argparse
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks import report
from benchmarks.api import AnswerError
from benchmarks.bench import Bench
from benchmarks.churn import churn
from benchmarks.cold import cold, limit
from benchmarks.density import density
from benchmarks.effort import FULL, QUICK, Effort
from benchmarks.hot import hot
from benchmarks.models import KINDS, Kind, Shelf
from benchmarks.results import Results
from benchmarks.servers import ROOT, ServerError, Stack, polyhost, running, stock
from benchmarks.startup import startup
from benchmarks.thousand import thousand

# In the order in which they are measured on one server.
STAGES: dict[str, Callable[[Bench, Kind], dict[str, float]]] = {
    "cold": cold,
    "density": density,
    "hot": hot,
    "churn": churn,
}
STACKS = ("stock", "polyhost")
# The churn of one model of each framework says it all.
CHURNED = ("lr", "mlp", "squeezenet")
FIRST = KINDS["lr"]
WIDTH = 120  # where the output goes to a file


@dataclass(frozen=True)
class Options:
    stock_python: Path
    stages: Sequence[str]
    kinds: Sequence[Kind]
    stacks: Sequence[str]
    effort: Effort
    json: Path | None
    plot: Path | None


class Run:
    """Everything that the options ask for, one thing at a time: the machine must be quiet but for what is measured."""

    def __init__(self, options: Options, console: Console) -> None:
        self._options = options
        self._console = console
        self._shelf = Shelf(ROOT / "build" / "bench-models")
        self.results = Results()
        self.failures: list[str] = []

    def run(self) -> None:
        self._make_models()
        for framework in dict.fromkeys(kind.framework for kind in self._options.kinds):
            self._measure_framework(framework, [kind for kind in self._options.kinds if kind.framework == framework])
        if "startup" in self._options.stages:
            self._measure_startup()
        if "thousand" in self._options.stages:
            self._measure_thousand()

    def _make_models(self) -> None:
        """In a process of its own: this one imports no framework."""
        with self._console.status("making the models"):
            command = [sys.executable, "-m", "benchmarks.models", str(self._shelf.folder)]
            subprocess.run(command, cwd=ROOT, check=True)

    def _measure_framework(self, framework: str, kinds: Sequence[Kind]) -> None:
        if "cold" in self._options.stages:
            for kind in kinds:
                self._measure_limit(kind)
        if any(stage in STAGES for stage in self._options.stages):
            for stack in self._stacks(framework):
                with self._noting_failure(f"{stack.name} with {framework}"):
                    self._measure_stack(stack, kinds)

    def _stacks(self, framework: str) -> Iterator[Stack]:
        for name in self._options.stacks:
            yield stock(self._options.stock_python, framework) if name == "stock" else polyhost()

    def _measure_limit(self, kind: Kind) -> None:
        figures = limit(self._options.stock_python, self._shelf, kind, self._options.effort.samples)
        self._add("cold", kind, "limit", figures)

    def _measure_stack(self, stack: Stack, kinds: Sequence[Kind]) -> None:
        with running(stack) as server:
            bench = Bench(server, self._shelf, self._options.effort)
            for kind in kinds:
                for stage, measure in STAGES.items():
                    if stage in self._options.stages and (stage != "churn" or kind.name in CHURNED):
                        self._add(stage, kind, stack.name, measure(bench, kind))

    def _measure_startup(self) -> None:
        for stack in self._stacks(FIRST.framework):
            with self._noting_failure(f"{stack.name}'s start"):
                self._add("startup", FIRST, stack.name, startup(stack, self._shelf, FIRST, self._options.effort))

    def _measure_thousand(self) -> None:
        """Ours only: as many of stock's would fill the machine's memory three times."""
        with self._noting_failure("a thousand models"), running(polyhost()) as server:
            self._add("thousand", FIRST, "polyhost", thousand(Bench(server, self._shelf, self._options.effort), FIRST))

    @contextmanager
    def _noting_failure(self, what: str) -> Iterator[None]:
        """What a server cannot do leaves a gap in the table, and the rest is measured all the same."""
        try:
            yield
        except (AnswerError, ServerError, OSError) as error:
            self.failures.append(f"{what}: {error}")
            self._console.print(f"failed: {self.failures[-1]}", style="red", markup=False)

    def _add(self, stage: str, kind: Kind, stack: str, figures: dict[str, float]) -> None:
        self.results.add(stage, kind.name, stack, figures)
        text = ", ".join(f"{name.replace('_', ' ')} {value:,.1f}" for name, value in figures.items())
        self._console.print(f"{stage:9} {kind.name:10} {stack:8}  {text}", highlight=False)


def options(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    stages = [*STAGES, "startup"]
    parser.add_argument("--stock", type=Path, required=True, help="the Python of the stock stack's environment")
    parser.add_argument("--only", help=f"stages: any of {','.join(stages)}", default=",".join(stages))
    parser.add_argument("--models", help=f"any of {','.join(KINDS)}", default=",".join(KINDS))
    parser.add_argument("--stacks", help=f"any of {','.join(STACKS)}", default=",".join(STACKS))
    parser.add_argument("--thousand", action="store_true", help="also load a thousand models (polyhost only)")
    parser.add_argument("--quick", action="store_true", help="few samples, short runs: to try, not to publish")
    parser.add_argument("--json", type=Path, help="where the results go, such as docs/benchmark.json")
    parser.add_argument("--plot", type=Path, help="where the picture goes, such as docs/benchmark.png")
    given = parser.parse_args(arguments)
    wanted = _chosen(parser, given.only, stages)
    return Options(
        given.stock.absolute(),
        [*wanted, "thousand"] if given.thousand else wanted,
        [KINDS[name] for name in _chosen(parser, given.models, list(KINDS))],
        _chosen(parser, given.stacks, STACKS),
        QUICK if given.quick else FULL,
        given.json,
        given.plot,
    )


def _chosen(parser: argparse.ArgumentParser, text: str, known: Sequence[str]) -> list[str]:
    words = text.replace(",", " ").split()
    for word in words:
        if word not in known:
            parser.error(f"{word!r} is unknown; give any of {','.join(known)}")
    return words


def main(arguments: Sequence[str]) -> int:
    given = options(arguments)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    run = Run(given, console)
    try:
        run.run()
    finally:
        console.print(report.table(run.results))
    if given.json:
        report.write_json(given.json, run.results, given.effort)
    if given.plot:
        from benchmarks import plot  # only here: matplotlib takes a second to import

        plot.draw(run.results, given.plot)
    return 1 if run.failures else 0


if __name__ == "__main__":
    # SIGTERM unwinds like Ctrl-C, so that it too ends the servers.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
