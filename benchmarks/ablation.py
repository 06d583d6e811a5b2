"""Each optimization of polyhost switched off in turn, behind the native front end, to measure what it gains.

In each round one server is started with all of them and one without each, in random order, so that whatever else
happens on the machine hits all of them alike. A figure is the median over all rounds.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import psutil
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.client import ResponseError
from benchmarks.context import timed_first_response
from benchmarks.load import LoadTest
from benchmarks.machine import Machine
from benchmarks.models import KINDS, Copy, Kind, Shelf, copies
from benchmarks.servers import ROOT, BenchServer, native, running
from polyhost.container.config import Optimization
from polyhost.container.memory.gauge import private_bytes
from polyhost.processes import ProcessError

ALL_ON = "all on"
# Settings by variant.
VARIANTS: dict[str, dict[str, str]] = {
    ALL_ON: {},
    **{f"without {name}": {"POLYHOST_DISABLE": str(name)} for name in Optimization},
    "without isolation": {"POLYHOST_ISOLATION": "off"},
}
COLD_MODELS = ("lr", "rf", "mlp", "squeezenet")
HOT_MODELS = ("lr",)
CLIENTS = (1, 8)
_PAUSE_S = 0.15  # after an unload: the next spare is forked 10 ms later
_ZYGOTES_S = 120.0


@dataclass(frozen=True)
class Effort:
    """`samples` is the number of cold models of each kind per server, `seconds` the length of a load test."""

    rounds: int = 15
    samples: int = 5
    seconds: float = 3.0


QUICK = Effort(rounds=2, samples=2, seconds=1.0)


@dataclass
class Ablation:
    """All samples by variant and figure; the unit is the end of a figure's name."""

    effort: Effort
    shelf: Shelf
    variants: Sequence[str] = tuple(VARIANTS)
    samples: defaultdict[str, defaultdict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def run(self, report: Callable[[str], None]) -> None:
        for number in range(self.effort.rounds):
            for variant in random.sample(self.variants, len(self.variants)):
                try:
                    self._measure(self.samples[variant], VARIANTS[variant])
                except (ResponseError, ProcessError, OSError, psutil.Error) as error:
                    report(f"round {number + 1}, {variant}: {error}")
                else:
                    report(f"round {number + 1} of {self.effort.rounds}: {variant}")

    def medians(self) -> dict[str, dict[str, float]]:
        """Return each variant's figures."""
        return {
            variant: {figure: round(median(values), 3) for figure, values in figures.items()}
            for variant, figures in self.samples.items()
        }

    def _measure(self, samples: Mapping[str, list[float]], settings: Mapping[str, str]) -> None:
        with running(native(POLYHOST_ZYGOTES="all", **settings)) as server:
            _wait_for_zygotes(server)
            samples["start: all zygotes ready ms"].append((time.perf_counter() - server.started) * 1000)
            for name in COLD_MODELS:
                self._measure_cold(samples, server, KINDS[name])
            for name in HOT_MODELS:
                self._measure_hot(samples, server, KINDS[name])

    def _measure_cold(self, samples: Mapping[str, list[float]], server: BenchServer, kind: Kind) -> None:
        body = self.shelf.body(kind).read_bytes()
        with server.client() as client:
            for copy in copies(self.shelf, kind, server.models_dir, self.effort.samples):
                _, first_response_ms = timed_first_response(client, copy, body)
                samples[f"cold first response: {kind.name} ms"].append(first_response_ms)
                samples[f"memory per model: {kind.name} MB"].append(private_bytes(_worker_of(server, copy).pid) / 1e6)
                client.unload(copy)
                copy.remove()
                time.sleep(_PAUSE_S)

    def _measure_hot(self, samples: Mapping[str, list[float]], server: BenchServer, kind: Kind) -> None:
        (copy,) = copies(self.shelf, kind, server.models_dir, 1)
        with server.client() as client:
            client.load(copy)
            for clients in CLIENTS:
                test = LoadTest(server, copy, self.shelf.body(kind), clients, self.effort.seconds)
                test.warm_up()
                before = _cpu_s(server)
                found = test.run()
                requests = found.per_second * self.effort.seconds
                what = f"hot, {clients} clients: {kind.name}"
                samples[f"{what} /s"].append(found.per_second)
                samples[f"{what} CPU µs per request"].append((_cpu_s(server) - before) / requests * 1e6)
            client.unload(copy)


def _wait_for_zygotes(server: BenchServer) -> None:
    deadline = time.monotonic() + _ZYGOTES_S
    while sum(" is ready" in line for line in server.process.log.read_text().splitlines()) < _zygotes(server):
        if time.monotonic() > deadline:
            raise ProcessError(f"not all zygotes were ready within {_ZYGOTES_S:g} s")
        time.sleep(0.01)


def _zygotes(server: BenchServer) -> int:
    """Return the number of zygotes: the fork server's children, 0 before it has started them."""
    found = [
        len(child.children()) for child in _process(server).children() if "forkserver" in " ".join(child.cmdline())
    ]
    return max(1, *found, 0)


def _worker_of(server: BenchServer, copy: Copy) -> psutil.Process:
    return next(one for one in _process(server).children(recursive=True) if one.cwd() == str(copy.folder))


def _cpu_s(server: BenchServer) -> float:
    """Return the CPU seconds of all its processes; they tell more than a rate on a machine that others use."""
    return sum(sum(one.cpu_times()[:4]) for one in _process(server).children(recursive=True))


def _process(server: BenchServer) -> psutil.Process:
    return psutil.Process(server.process.pid)


def table(medians: Mapping[str, Mapping[str, float]]) -> Table:
    made = Table(box=box.SIMPLE_HEAD)
    made.add_column(no_wrap=True)
    variants = [variant for variant in VARIANTS if variant in medians]
    for variant in variants:
        made.add_column(variant, justify="right", no_wrap=True)
    with_all = medians.get(ALL_ON, {})
    for figure, reference in with_all.items():
        cells = [_number(reference)]
        for variant in variants[1:]:
            value = medians.get(variant, {}).get(figure)
            cells.append(
                "" if value is None else f"{value:,.{0 if value >= 100 else 1}f} ({value / reference - 1:+.1%})"
            )
        made.add_row(figure, *cells)
    return made


def _number(value: float) -> str:
    return f"{value:,.{0 if value >= 100 else 1}f}"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench --ablation", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds: to try, not to publish")
    parser.add_argument("--rounds", type=int, help=f"servers of each variant; {Effort.rounds}")
    parser.add_argument("--without", help="measure one only, such as prefault or isolation")
    parser.add_argument("--json", type=Path, help="the file for the results")
    given = parser.parse_args(arguments)
    effort = QUICK if given.quick else Effort()
    if given.rounds:
        effort = Effort(given.rounds, effort.samples, effort.seconds)
    shelf = Shelf(ROOT / "build" / "bench-models")
    subprocess.run([sys.executable, "-m", "benchmarks.models", str(shelf.folder)], cwd=ROOT, check=True)
    console = Console(width=None if sys.stdout.isatty() else 200)
    variants = [ALL_ON, f"without {given.without}"] if given.without else list(VARIANTS)
    if not set(variants) <= set(VARIANTS):
        parser.error(f"--without {given.without}: give one of {', '.join(name[8:] for name in list(VARIANTS)[1:])}")
    ablation = Ablation(effort, shelf, variants)
    machine = Machine.current()
    try:
        ablation.run(lambda text: console.print(text, highlight=False, markup=False))
    finally:
        console.print(table(ablation.medians()))
        console.print(str(machine), highlight=False, markup=False)
    if given.json:
        content = {"machine": asdict(machine), "effort": asdict(effort), "medians": ablation.medians()}
        given.json.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return 0
