"""polyhost and the stock stack, with the same models, in one run. scripts/bench runs this."""

import argparse
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from rich.console import Console

from benchmarks import ablation, report
from benchmarks.batches import batches
from benchmarks.choices import chosen
from benchmarks.churn import churn
from benchmarks.client import ResponseError
from benchmarks.cold import cold, limit
from benchmarks.context import Context
from benchmarks.density import density
from benchmarks.effort import FULL, QUICK, Effort
from benchmarks.fairness import fairness
from benchmarks.footprint import footprint
from benchmarks.hot import hot
from benchmarks.idle import idle
from benchmarks.machine import Machine
from benchmarks.models import KINDS, Kind, Shelf
from benchmarks.results import Results
from benchmarks.servers import ROOT, Stack, native, polyhost, running, stock
from benchmarks.startup import startup
from benchmarks.thousand import thousand
from polyhost.processes import ProcessError

OURS = {"polyhost": polyhost, "native": native}
STACKS = ("stock", *OURS)


@dataclass(frozen=True)
class Stage:
    """One thing that is measured, with `models` on `stacks`.

    A `fresh` stage has a server of its own that has had no model yet; a `repeated` one has several, and the medians of
    their figures count. A stage that is not `default` has to be named.
    """

    measure: Callable[[Context, Kind], dict[str, float]]
    models: Sequence[str]
    fresh: bool = False
    repeated: bool = False
    stacks: Sequence[str] = STACKS
    default: bool = True


_ALL, _ONE = tuple(KINDS), ("lr",)
_OF_EACH_FRAMEWORK = ("lr", "mlp", "squeezenet")
# In the order in which they are measured on one server.
STAGES = {
    "cold": Stage(cold, _ALL),
    "density": Stage(density, _ALL),
    "hot": Stage(hot, _ALL),
    "batches": Stage(batches, ("lr", "rf", "mlp"), stacks=("native",)),
    "churn": Stage(churn, _OF_EACH_FRAMEWORK),
    "idle": Stage(idle, _ONE),
    "fairness": Stage(fairness, _ONE),
    "startup": Stage(startup, _ONE, fresh=True, repeated=True),
    "footprint": Stage(footprint, _ONE, fresh=True),
    # Not stock: that many of its models would need three times the machine's memory.
    "thousand": Stage(thousand, _ONE, fresh=True, stacks=tuple(OURS), default=False),
}
WIDTH = 160  # of the output if it goes to a file


@dataclass(frozen=True)
class Options:
    """The options of one run."""

    stock_python: Path
    stages: Sequence[str]
    kinds: Sequence[Kind]
    stacks: Sequence[str]
    effort: Effort
    json: Path | None
    markdown: Path | None
    plot: Path | None


class Run:
    """All that the options ask for, one thing at a time: nothing else should run on the machine."""

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
        for name in self._options.stages:
            if STAGES[name].fresh:
                self._measure_fresh(name, STAGES[name])

    def _make_models(self) -> None:
        """Make the models in a process of its own: this one imports no framework."""
        with self._console.status("making the models"):
            command = [sys.executable, "-m", "benchmarks.models", str(self._shelf.folder)]
            subprocess.run(command, cwd=ROOT, check=True)

    def _measure_framework(self, framework: str, kinds: Sequence[Kind]) -> None:
        if "cold" in self._options.stages:
            for kind in kinds:
                self._measure_limit(kind)
        wanted = {name: STAGES[name] for name in STAGES if name in self._options.stages and not STAGES[name].fresh}
        if wanted:
            for stack in self._stacks(framework):
                with self._noting_failures(f"{stack.name} with {framework}"):
                    self._measure_stack(stack, kinds, wanted)

    def _stacks(self, framework: str) -> Iterator[Stack]:
        for name in self._options.stacks:
            yield OURS[name]() if name in OURS else stock(self._options.stock_python, framework)

    def _measure_limit(self, kind: Kind) -> None:
        figures = limit(self._options.stock_python, self._shelf, kind, self._options.effort.samples)
        self._add("cold", kind, "limit", figures)

    def _measure_stack(self, stack: Stack, kinds: Sequence[Kind], stages: dict[str, Stage]) -> None:
        with running(stack) as server:
            context = Context(server, self._shelf, self._options.effort)
            for kind in kinds:
                for name, stage in stages.items():
                    if kind.name in stage.models and stack.name in stage.stacks:
                        with self._noting_failures(f"{name} of {stack.name} with {kind.name}"):
                            self._add(name, kind, stack.name, stage.measure(context, kind))

    def _measure_fresh(self, name: str, stage: Stage) -> None:
        """Measure a fresh stage with its own models, whichever others the options name."""
        for kind in (KINDS[model] for model in stage.models):
            for stack in self._stacks(kind.framework):
                if stack.name in stage.stacks:
                    with self._noting_failures(f"{name} of {stack.name}"):
                        self._add(name, kind, stack.name, self._fresh_figures(stack, stage, kind))

    def _fresh_figures(self, stack: Stack, stage: Stage, kind: Kind) -> dict[str, float]:
        found = []
        for _ in range(self._options.effort.starts if stage.repeated else 1):
            with running(stack) as server:
                found.append(stage.measure(Context(server, self._shelf, self._options.effort), kind))
        return {figure: median(one[figure] for one in found) for figure in found[0]}

    @contextmanager
    def _noting_failures(self, what: str) -> Iterator[None]:
        """Note a failure: it leaves a gap in the table, and the rest is still measured."""
        try:
            yield
        except (ResponseError, ProcessError, OSError) as error:
            self.failures.append(f"{what}: {error}")
            self._console.print(f"failed: {self.failures[-1]}", style="red", markup=False)

    def _add(self, stage: str, kind: Kind, stack: str, figures: dict[str, float]) -> None:
        self.results.add(stage, kind.name, stack, figures)
        text = ", ".join(f"{name.replace('_', ' ')} {value:,.1f}" for name, value in figures.items())
        self._console.print(f"{stage:9} {kind.name:10} {stack:8}  {text}", highlight=False)


def options(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    stages = [name for name, stage in STAGES.items() if stage.default]
    parser.add_argument("--stock", type=Path, required=True, help="the Python of the stock stack's environment")
    parser.add_argument("--only", help=f"stages: any of {','.join(stages)}", default=",".join(stages))
    parser.add_argument("--models", help=f"any of {','.join(KINDS)}", default=",".join(KINDS))
    parser.add_argument("--stacks", help=f"any of {','.join(STACKS)}", default=",".join(STACKS))
    parser.add_argument(
        "--thousand", type=int, nargs="?", const=0, metavar="N",
        help="also load a thousand models on MMS and two thousand on the native front end, or N on each",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="few samples, short runs: to try, not to publish")
    parser.add_argument("--json", type=Path, help="the file for the results, such as docs/benchmark.json")
    parser.add_argument("--markdown", type=Path, help="the file for the table, for the documentation")
    parser.add_argument("--plot", type=Path, help="the file for the chart, such as docs/benchmark.png")
    given = parser.parse_args(arguments)
    wanted = chosen(parser, given.only, stages)
    effort = QUICK if given.quick else FULL
    if given.thousand:
        effort = replace(effort, thousand=given.thousand, native_thousand=given.thousand)
    return Options(
        given.stock.absolute(),
        wanted if given.thousand is None else [*wanted, "thousand"],
        [KINDS[name] for name in chosen(parser, given.models, list(KINDS))],
        chosen(parser, given.stacks, STACKS),
        effort,
        given.json,
        given.markdown,
        given.plot,
    )


def main(arguments: Sequence[str]) -> int:
    """Run all stages, or, with --ablation, compare polyhost with itself."""
    if "--ablation" in arguments:
        return ablation.main([argument for argument in arguments if argument != "--ablation"])
    given = options(arguments)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    machine = Machine.current()
    run = Run(given, console)
    try:
        run.run()
    finally:
        console.print(report.table(run.results, machine))
    if given.json:
        report.write_json(given.json, run.results, given.effort, machine)
    if given.markdown:
        given.markdown.write_text(report.markdown(run.results, machine))
    if given.plot:
        from benchmarks import plot  # only here: matplotlib takes a second to import

        plot.draw(run.results, given.plot)
    return 1 if run.failures else 0


if __name__ == "__main__":
    # SIGTERM unwinds like Ctrl-C, so that it stops the servers as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
