"""polyhost, the stock stack and other model servers, with the same models. scripts/bench-peers runs this."""

import argparse
import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.choices import chosen
from benchmarks.client import ResponseError
from benchmarks.effort import FULL, QUICK, Effort
from benchmarks.machine import Machine
from benchmarks.models import KINDS, Kind, Shelf
from benchmarks.peers.bentoml import BentoMlPeer
from benchmarks.peers.containers import mms_peer, native_peer, stock_peer
from benchmarks.peers.environments import InstallError
from benchmarks.peers.fastapi import FastApiPeer
from benchmarks.peers.litserve import LitServePeer
from benchmarks.peers.mlserver import MlServerPeer
from benchmarks.peers.peer import SERVICES, Peer, PeerError
from benchmarks.peers.ray import RayServePeer
from benchmarks.peers.server import running_peer
from benchmarks.peers.stages import STAGES, PeerContext
from benchmarks.peers.table import Entry, PeerReport
from benchmarks.peers.torchserve import TorchServePeer
from benchmarks.peers.triton import TritonPeer
from benchmarks.rows import print_row
from benchmarks.servers import ROOT
from polyhost.processes import ProcessError

# Each gets the Python of the stock stack's environment.
PEERS: Mapping[str, Callable[[Path], Peer]] = {
    "native": lambda stock: native_peer(),
    "mms": lambda stock: mms_peer(),
    "stock": stock_peer,
    "fastapi": lambda stock: FastApiPeer(),
    "mlserver": lambda stock: MlServerPeer(),
    "bentoml": lambda stock: BentoMlPeer(),
    "litserve": lambda stock: LitServePeer(),
    "ray": lambda stock: RayServePeer(),
    "torchserve": lambda stock: TorchServePeer(),
    "triton": lambda stock: TritonPeer(),
}
MODELS = ("lr", "mlp")
_COPIES = 50  # at once, for the memory of each
_FAILURES = (ResponseError, PeerError, ProcessError, OSError, http.client.HTTPException, subprocess.TimeoutExpired)


@dataclass(frozen=True)
class PeerOptions:
    """The options of one run."""

    peers: Sequence[Peer]
    kinds: Sequence[Kind]
    effort: Effort
    install_only: bool
    json: Path | None
    markdown: Path | None


class PeerRun:
    """All peers, one at a time; one that cannot be installed or run leaves its reason in the report."""

    def __init__(self, given: PeerOptions) -> None:
        self._given = given
        self._shelf = Shelf(ROOT / "build" / "bench-models")
        self.report = PeerReport(Machine.current(), given.effort)

    def run(self) -> None:
        ready = [peer for peer in self._given.peers if self._is_installed(peer)]
        if self._given.install_only:
            return
        names = [kind.name for kind in self._given.kinds]
        command: list[str | Path] = [sys.executable, "-m", "benchmarks.models", self._shelf.folder, *names]
        subprocess.run(command, cwd=ROOT, check=True)
        for kind in self._given.kinds:
            expected = self._expected(kind)
            for peer in ready:
                self.report.note_load()
                with self._noting_failures(f"{peer.name} with {kind.name}"):
                    self._measure(peer, kind, expected)

    def _is_installed(self, peer: Peer) -> bool:
        try:
            skipped = peer.missing()
            if not skipped:
                peer.environment.install()
                self.report.entries.append(Entry.of(peer, peer.environment.versions(peer.packages)))
                return True
        except InstallError as error:
            skipped = str(error)
        print(f"{peer.name}: skipped: {skipped}", file=sys.stderr)
        self.report.entries.append(Entry.of(peer, skipped=f"skipped: {skipped}"))
        return False

    def _expected(self, kind: Kind) -> Any:
        """Return what the model predicts, computed in a process of its own: this one imports no framework."""
        command: list[str | Path] = [sys.executable, "-m", f"{SERVICES}.expected", self._shelf.model(kind)]
        return json.loads(
            subprocess.run([*command, self._shelf.body(kind)], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
        )

    def _measure(self, peer: Peer, kind: Kind, expected: Any) -> None:
        """Start several servers for the time of the start; the last of them is measured further."""
        starts = []
        for number in range(1, self._given.effort.starts + 1):
            with running_peer(peer, kind) as server, server.client() as client:
                context = PeerContext(server, client, self._shelf, self._given.effort, expected)
                starts.append(STAGES["startup"](context))
                if number == self._given.effort.starts:
                    self._add(peer, kind, "startup", {name: median(one[name] for one in starts) for name in starts[0]})
                    self._measure_further(context)

    def _measure_further(self, context: PeerContext) -> None:
        peer, kind = context.server.peer, context.kind
        for stage, measure in STAGES.items():
            if stage != "startup":
                with self._noting_failures(f"{stage} of {peer.name} with {kind.name}"):
                    self._add(peer, kind, stage, measure(context))

    def _add(self, peer: Peer, kind: Kind, stage: str, figures: dict[str, float]) -> None:
        self.report.results.add(stage, kind.name, peer.name, figures)
        print_row(kind, f"{peer.name:16}", stage, figures)

    @contextmanager
    def _noting_failures(self, what: str) -> Iterator[None]:
        """Note a failure: it leaves a gap in the table, and the rest is still measured."""
        try:
            yield
        except _FAILURES as error:
            self.report.failures.append(f"{what}: {error}")
            print(f"failed: {self.report.failures[-1]}", file=sys.stderr)


def options(arguments: Sequence[str]) -> PeerOptions:
    parser = argparse.ArgumentParser(prog="scripts/bench-peers", description=__doc__)
    parser.add_argument("--stock", type=Path, required=True, help="the Python of the stock stack's environment")
    parser.add_argument("--peers", help=f"any of {','.join(PEERS)}", default=",".join(PEERS))
    parser.add_argument("--models", help=f"any of {','.join(MODELS)}", default=",".join(MODELS))
    parser.add_argument("--quick", action="store_true", help="few samples, short runs: to try, not to publish")
    parser.add_argument("--install", action="store_true", help="only make the peers' environments")
    parser.add_argument("--json", type=Path, help="the file for the results, such as docs/peers.json")
    parser.add_argument("--markdown", type=Path, help="the file for the tables, for the documentation")
    given = parser.parse_args(arguments)
    return PeerOptions(
        [PEERS[name](given.stock.absolute()) for name in chosen(parser, given.peers, list(PEERS))],
        [KINDS[name] for name in chosen(parser, given.models, MODELS)],
        QUICK if given.quick else replace(FULL, copies=_COPIES),
        given.install,
        given.json,
        given.markdown,
    )


def _publish(report: PeerReport, given: PeerOptions) -> None:
    text = report.markdown()
    print(text)
    if given.json:
        report.write_json(given.json)
    if given.markdown:
        given.markdown.write_text(text)


def main(arguments: Sequence[str]) -> int:
    """Measure the peers. Return 1 if something failed; a peer that was skipped is no failure."""
    given = options(arguments)
    run = PeerRun(given)
    try:
        run.run()
    finally:
        if not given.install_only:
            _publish(run.report, given)
    return 1 if run.report.failures else 0


if __name__ == "__main__":
    # SIGTERM unwinds like Ctrl-C, so that it stops the servers as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
