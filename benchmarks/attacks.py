"""The p99 of a model with one client while another model takes descriptors, processes or memory over and over.

python -m benchmarks.attacks; run it on a machine that does nothing else. It takes four minutes.
"""

import argparse
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks.client import MeasuringClient
from benchmarks.context import Context
from benchmarks.effort import FULL
from benchmarks.load import LoadTest
from benchmarks.machine import Machine
from benchmarks.models import KINDS, Copy, Shelf
from benchmarks.servers import ROOT, BenchServer, native, polyhost, running

ATTACKS = ("nothing", "descriptors", "processes", "memory", "shared-memory")
KIND = KINDS["lr"]
_MARGIN_S = 1.0  # by which an attack is longer than the measurement, at its begin


@dataclass(frozen=True)
class Comparison:
    """A model's p99 alone and beside an attack, in milliseconds: medians of several pairs."""

    alone_ms: float
    beside_ms: float
    ratio: float  # the median of the pairs' ratios

    def __str__(self) -> str:
        return f"p99 alone {self.alone_ms:.2f} ms, beside it {self.beside_ms:.2f} ms: {self.ratio:.2f} times"


def measure(server: BenchServer, shelf: Shelf, seconds: float, pairs: int, attacks: Sequence[str]) -> dict[str, str]:
    """Compare for each attack."""
    context = Context(server, shelf, FULL)
    with context.fresh_copies(KIND, 1) as (neighbour,), _attacker(server) as attacker, server.client() as client:
        for copy in (neighbour, attacker):
            client.load(copy)
        test = LoadTest(server, neighbour, shelf.body(KIND), 1, seconds)
        test.warm_up()
        found = {name: str(_compare(test, attacker, name, pairs)) for name in attacks}
        for copy in (neighbour, attacker):
            client.unload(copy)
    return found


def _compare(test: LoadTest, attacker: Copy, attack: str, pairs: int) -> Comparison:
    alone, beside = [], []
    for _ in range(pairs):
        alone.append(test.run().p99_ms)
        with _attacking(test, attacker, attack):
            beside.append(test.run().p99_ms)
    ratios = [with_attack / without for without, with_attack in zip(alone, beside, strict=True)]
    return Comparison(median(alone), median(beside), median(ratios))


@contextmanager
def _attacking(test: LoadTest, attacker: Copy, attack: str) -> Iterator[None]:
    """Have the attacker work for as long as the test takes; `nothing` tells how far two measurements differ."""
    if attack == "nothing":
        yield
        return
    failures: list[Exception] = []

    def invoke() -> None:
        try:
            with MeasuringClient(test.server.port) as client:
                client.invoke(attacker, f"{attack} {test.seconds + _MARGIN_S}".encode())
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=invoke)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if failures:
        raise failures[0]


@contextmanager
def _attacker(server: BenchServer) -> Iterator[Copy]:
    folder = server.models_dir / "attacker" / "model"
    shutil.copytree(Path(__file__).parent / "attacker", folder)
    copy = Copy("attacker", replace(KIND, name="attacker", content_type="text/plain"), folder)
    try:
        yield copy
    finally:
        copy.remove()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attacks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement; 4")
    parser.add_argument("--pairs", type=int, default=3, help="of measurements, without and with the attack; 3")
    given = parser.parse_args(arguments)
    shelf = Shelf(ROOT / "build" / "bench-models")
    shelf.fill(iter([KIND]))
    print(Machine.current(), flush=True)
    for stack in (native(), polyhost()):
        with running(stack) as server:
            for attack, text in measure(server, shelf, given.seconds, given.pairs, ATTACKS).items():
                print(f"{stack.name}, {attack}: {text}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
