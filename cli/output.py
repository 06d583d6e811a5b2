"""What commands print: JSON for scripts, plain tables for people."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

PIPE_WIDTH = 1000
"""Columns where the output is no terminal, so that a script sees whole values."""


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(*headings, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    _console().print(table)


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """One line per fact, the names in a column of their own."""
    table = Table("", "", box=None, pad_edge=False, show_header=False)
    for name, value in facts:
        table.add_row(name, value)
    _console().print(table)


def size(count: int) -> str:
    """Bytes as people read them."""
    if count < 1000:
        return f"{count} bytes"
    return f"{count / 1e3:.1f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"


def _console() -> Console:
    # Names, addresses and answers are printed as they are: no markup, no colouring of what looks like a number.
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(markup=False, highlight=False, width=width)
