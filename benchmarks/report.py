"""The results for people (a table) and for programs (JSON)."""

import json
import os
import platform
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from benchmarks.effort import Effort
from benchmarks.results import Results
from benchmarks.targets import Row, rows

_WORDS = {True: "[green]met[/green]", False: "[red]missed[/red]", None: ""}


def table(results: Results) -> Table:
    made = Table(box=box.SIMPLE_HEAD)
    made.add_column(no_wrap=True)
    for name in ("stock", "limit", "polyhost (MMS)", "native"):
        made.add_column(name, justify="right", no_wrap=True)
    for name in ("target, MMS", "", "target, native", ""):
        made.add_column(name, no_wrap=True)
    for row in rows(results):
        verdicts = (row.target, _WORDS[row.met], row.native_target, _WORDS[row.native_met])
        made.add_row(row.what, *_cells(row), *verdicts)
    return made


def _cells(row: Row) -> list[str]:
    return [_number(value, row.unit) for value in (row.stock, row.limit, row.polyhost, row.native)]


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value:,.{0 if value >= 100 else 1}f}{'' if unit.startswith('/') else ' '}{unit}"


def write_json(path: Path, results: Results, effort: Effort) -> None:
    content = {
        "machine": _machine(),
        "load_generator": "wrk" if shutil.which("wrk") else "benchmarks.generator",
        "effort": asdict(effort),
        "measurements": [asdict(found) for found in results.measurements],
        "table": [asdict(row) for row in rows(results)],
    }
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Results:
    return Results.from_json(json.loads(path.read_bytes())["measurements"])


def _machine() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
