"""The results for people (a table) and for programs (JSON), with the machine that they were measured on."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.table import Table

from benchmarks.effort import Effort
from benchmarks.machine import Machine
from benchmarks.results import Results
from benchmarks.targets import TableRow, rows

_WORDS = {True: "[green]met[/green]", False: "[red]missed[/red]", None: ""}
_MARKDOWN = {True: "met", False: "**missed**", None: ""}
_STACKS = ("stock", "limit", "polyhost (MMS)", "native")
_COLUMNS = (*_STACKS, "target, MMS", "", "target, native", "")


def table(results: Results, machine: Machine) -> Table:
    """Return one row per figure and a column per stack; the caption names the machine."""
    made = Table(box=box.SIMPLE_HEAD, caption=str(machine), caption_justify="left")
    made.add_column(no_wrap=True)
    for name in _STACKS:
        made.add_column(name, justify="right", no_wrap=True)
    for name in _COLUMNS[len(_STACKS) :]:
        made.add_column(name, no_wrap=True)
    for row in rows(results):
        verdicts = (row.target, _WORDS[row.met], row.native_target, _WORDS[row.native_met])
        made.add_row(row.what, *_cells(row), *verdicts)
    return made


def _cells(row: TableRow) -> list[str]:
    return [_number(value, row.unit) for value in (row.stock, row.limit, row.polyhost, row.native)]


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value:,.{0 if value >= 100 else 1}f}{'' if unit.startswith('/') else ' '}{unit}"


def markdown(results: Results, machine: Machine) -> str:
    """Return the same table for docs, below a line that names the machine."""
    lines = [f"Measured on {machine}.", "", f"| | {' | '.join(_COLUMNS)} |", "|---" * (len(_COLUMNS) + 1) + "|"]
    for row in rows(results):
        verdicts = (row.target, _MARKDOWN[row.met], row.native_target, _MARKDOWN[row.native_met])
        lines.append(f"| {row.what} | {' | '.join((*_cells(row), *verdicts))} |")
    return "\n".join(lines) + "\n"


def write_json(path: Path, results: Results, effort: Effort, machine: Machine) -> None:
    content = {
        "machine": asdict(machine),
        "load_generator": "wrk" if shutil.which("wrk") else "benchmarks.generator",
        "effort": asdict(effort),
        "measurements": [asdict(found) for found in results.measurements],
        "table": [asdict(row) for row in rows(results)],
    }
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Results:
    return Results.from_json(json.loads(path.read_bytes())["measurements"])
