"""The benchmark beside other model servers: its table, its environments, and whole runs of two servers."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.effort import QUICK
from benchmarks.machine import Machine
from benchmarks.models import KINDS, Kind
from benchmarks.peers.__main__ import MODELS, PEERS, PeerOptions, PeerRun, options
from benchmarks.peers.environments import Environment, InstallError
from benchmarks.peers.fastapi import FastApiPeer
from benchmarks.peers.peer import Peer
from benchmarks.peers.stages import STAGES
from benchmarks.peers.table import Entry, PeerReport
from benchmarks.results import Results

MACHINE = Machine("5.10.0", 2, 3.5, "Some CPU", "3.12.1", "2026-01-31")
EFFORT = replace(QUICK, samples=1, copies=1, seconds=1.0)
STOCK = Path("no-python")  # which these tests do not start


def test_a_table_per_model_names_the_skipped_and_the_failed() -> None:
    native, mms, triton = (
        Entry("native", "a fork each", "polyhost serve", {"polyhost": "1.2"}),
        Entry("mms", "the same", "polyhost serve", {"polyhost": "1.2"}),
        Entry("triton", "a process each", "tritonserver", skipped="skipped: no Triton here"),
    )
    results = Results()
    results.add("startup", "lr", "native", {"ready_ms": 300.0, "first_answer_ms": 3200.0})
    results.add("hot", "lr", "native", {"per_second": 2400.0, "p50_ms": 3.0, "p99_ms": 5.84})
    results.add("density", "lr", "native", {"per_model_mb": 7.6, "total_mb": 900.0, "models": 50})
    lines = PeerReport(MACHINE, QUICK, [native, mms, triton], results, loads=[0.5, 9.25]).markdown().splitlines()
    assert lines[0] == f"Measured on {MACHINE}; load averages before each server from 0.5 to 9.25."
    assert "| native | 3,200 ms |  |  |  | 2,400/s | 5.84 ms |  | 7.60 MB | 900 MB | 50 |" in lines
    assert f"| mms | failed: see the run's output |{'  |' * 9}" in lines
    assert f"| triton | skipped: no Triton here |{'  |' * 9}" in lines
    assert "| native | polyhost 1.2 | a fork each | `polyhost serve` |" in lines
    assert {line.count("|") for line in lines[2:7]} == {12}


def test_every_peer_has_pinned_versions_and_a_description() -> None:
    for make in PEERS.values():
        peer = make(STOCK)
        assert peer.name and peer.holds and peer.shown_command and peer.packages
        requirements = peer.environment.requirements
        if requirements is not None:
            pins = dict(line.split("==") for line in requirements.read_text().splitlines())
            assert set(peer.packages) <= set(pins)


@pytest.mark.parametrize("word", ["--peers", "--models"])
def test_an_unknown_word_is_named(capsys: pytest.CaptureFixture[str], word: str) -> None:
    with pytest.raises(SystemExit):
        options(["--stock", "python", word, "luke"])
    assert "unknown word 'luke'; give any of" in capsys.readouterr().err


def test_what_pip_cannot_install_is_skipped_with_the_reason(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("./missing-1.0-py3-none-any.whl\n")
    environment = Environment(tmp_path / "venv" / "bin" / "python", requirements)
    with pytest.raises(InstallError, match=r"venv: .*pip.* failed: .*missing-1\.0"):
        environment.install()
    assert not environment.is_installed()


def run_of(peers: Sequence[Peer], kind: Kind, folder: Path) -> PeerReport:
    run = PeerRun(PeerOptions(peers, [kind], EFFORT, False, folder / "results.json", None))
    run.run()
    assert run.report.failures == []
    return run.report


@pytest.mark.slow
def test_the_native_front_end_is_measured_and_one_without_environment_is_skipped(tmp_path: Path) -> None:
    kind = KINDS[MODELS[0]]
    native, stock = PEERS["native"](STOCK), PEERS["stock"](STOCK)
    report = run_of([native, stock], kind, tmp_path)
    assert [(found.stage, found.stack) for found in report.results.measurements] == [
        (stage, native.name) for stage in STAGES
    ]
    skipped = {entry.name: entry.skipped for entry in report.entries}
    assert skipped[native.name] == "" and "no-python" in skipped[stock.name]
    report.write_json(tmp_path / "results.json")
    assert json.loads((tmp_path / "results.json").read_bytes())["servers"][0]["versions"]["polyhost"]


@pytest.mark.slow
def test_a_peer_predicts_what_the_model_does(tmp_path: Path) -> None:
    peer = FastApiPeer()
    if not peer.environment.is_installed():
        pytest.skip("no FastAPI here: scripts/bench-peers --install --peers fastapi")
    report = run_of([peer], KINDS["lr"], tmp_path)
    assert {found.stage for found in report.results.measurements} == set(STAGES)
