"""The results for people (Markdown) and for programs (JSON)."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.effort import Effort
from benchmarks.machine import Machine
from benchmarks.peers.peer import Peer
from benchmarks.results import Results

# Heading, stage, figure, unit.
_COLUMNS = (
    ("start to first answer", "startup", "first_answer_ms", "ms"),
    ("CPU", "startup", "cpu_ms", "ms"),
    ("cold first answer", "cold", "first_answer_ms", "ms"),
    ("CPU", "cold", "cpu_ms", "ms"),
    ("hot, 8 clients", "hot", "per_second", "/s"),
    ("p99", "hot", "p99_ms", "ms"),
    ("CPU a request", "hot", "cpu_ms", "ms"),
    ("memory per model", "density", "per_model_mb", "MB"),
    ("in all", "density", "total_mb", "MB"),
    ("models", "density", "models", ""),
)


@dataclass(frozen=True)
class Entry:
    """One server of the table: its versions, or why it is not measured."""

    name: str
    holds: str
    command: str
    versions: dict[str, str] = field(default_factory=dict)
    skipped: str = ""

    @classmethod
    def of(cls, peer: Peer, versions: dict[str, str] | None = None, skipped: str = "") -> "Entry":
        return cls(peer.name, peer.holds, peer.shown_command, versions or {}, skipped)


@dataclass
class PeerReport:
    """What one run found. `loads` is the machine's load average of a minute before each server was measured."""

    machine: Machine
    effort: Effort
    entries: list[Entry] = field(default_factory=list)
    results: Results = field(default_factory=Results)
    failures: list[str] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)

    def note_load(self) -> None:
        self.loads.append(round(os.getloadavg()[0], 2))

    def markdown(self) -> str:
        lines = [f"Measured on {self.machine}; {self._load_text()}.", ""]
        for model in self.results.models("startup"):
            lines += [*self._figures(model), ""]
        lines += ["| | versions | many models | started by |", "|---|---|---|---|"]
        lines += [
            f"| {entry.name} | {_versions(entry)} | {entry.holds} | `{entry.command}` |" for entry in self.entries
        ]
        return "\n".join(lines) + "\n"

    def write_json(self, path: Path) -> None:
        content = {
            "machine": asdict(self.machine),
            "load_generator": "wrk" if shutil.which("wrk") else "benchmarks.generator",
            "load_averages": self.loads,
            "effort": asdict(self.effort),
            "servers": [asdict(entry) for entry in self.entries],
            "failures": self.failures,
            "measurements": [asdict(found) for found in self.results.measurements],
        }
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    def _load_text(self) -> str:
        return f"load averages before each server from {min(self.loads)} to {max(self.loads)}" if self.loads else ""

    def _figures(self, model: str) -> list[str]:
        headings = [heading for heading, *_ in _COLUMNS]
        lines = [f"| {model} | {' | '.join(headings)} |", "|---" * (len(headings) + 1) + "|"]
        for entry in self.entries:
            cells = [self._cell(entry, model, column) for column in _COLUMNS]
            if entry.skipped or not any(cells):
                cells = [entry.skipped or "failed: see the run's output", *cells[1:]]
            lines.append(f"| {entry.name} | {' | '.join(cells)} |")
        return lines

    def _cell(self, entry: Entry, model: str, column: Sequence[str]) -> str:
        _, stage, figure, unit = column
        value = self.results.get(stage, model, entry.name, figure)
        if value is None:
            return ""
        digits = 0 if value >= 100 or not unit else 1 if value >= 10 else 2
        number = f"{value:,.{digits}f}"
        return number + (unit if unit.startswith("/") else f" {unit}".rstrip())


def _versions(entry: Entry) -> str:
    return ", ".join(f"{name} {version}" for name, version in entry.versions.items())
