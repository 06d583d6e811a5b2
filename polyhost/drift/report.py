"""The HTML report: one file, without scripts and without anything from elsewhere."""

from html import escape
from typing import Any

import numpy as np

from polyhost.drift.data_quality import Baseline, DataQualityResult
from polyhost.drift.distances import Distance
from polyhost.drift.tables import DataColumn

_WIDTH, _HEIGHT, _BARS = 160, 36, 16
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #8884; padding: .3rem .6rem; text-align: left; vertical-align: middle; }
td.number { font-variant-numeric: tabular-nums; text-align: right; }
tr.drifted td:first-child { border-left: 4px solid #c2410c; }
.then { fill: #8888; } .now { fill: #c2410c; opacity: .7; }
"""


def html_report(title: str, result: DataQualityResult, baseline: Baseline) -> str:
    """Return the report of an analysis."""
    drifted = sum(distance.drifted for distance in result.distances.values())
    count = max((column.count for column in result.columns), default=0)
    summary = f"{count} rows, {len(result.columns)} columns; {drifted} drifted, {len(result.violations)} violations."
    rows = sorted(result.columns, key=lambda column: -_value(result.distances.get(column.name)))
    body = "".join(_row(column, result.distances.get(column.name), baseline) for column in rows)
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1><p>{escape(summary)}</p>{_violations(result)}<h2>Columns</h2>"
        "<p>Grey is the baseline, orange the captured data.</p>"
        "<table><thead><tr><th>Column<th>Type<th>Complete<th>Baseline's mean<th>Mean<th>Distance<th>Threshold<th>p"
        f"<th>Distribution</thead><tbody>{body}</tbody></table></html>\n"
    )


def _violations(result: DataQualityResult) -> str:
    if not result.violations:
        return "<p>All constraints hold.</p>"
    rows = "".join(
        f"<tr><td>{escape(item.feature)}<td>{escape(item.check)}<td>{escape(item.description)}"
        for item in result.violations
    )
    head = "<tr><th>Feature<th>Check<th>Description"
    return f"<h2>Violations</h2><table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _row(column: DataColumn, distance: Distance | None, baseline: Baseline) -> str:
    statistics = baseline.statistics_of(column.name).get("numerical_statistics") or {}
    mean = float(column.numbers.mean()) if len(column.numbers) else None
    numbers = (
        f"{column.completeness:.1%}",
        _format(statistics.get("mean")),
        _format(mean),
        *_distance_cells(distance),
    )
    cells = "".join(f'<td class="number">{escape(text)}' for text in numbers)
    mark = ' class="drifted"' if distance is not None and distance.drifted else ""
    return f"<tr{mark}><td>{escape(column.name)}<td>{escape(column.type)}{cells}<td>{_picture(column, statistics)}"


def _picture(column: DataColumn, statistics: dict[str, Any]) -> str:
    """Return both histograms over the same range, each as tall as its highest bar."""
    buckets = statistics.get("distribution", {}).get("kll", {}).get("buckets") or []
    if not buckets or not len(column.numbers):
        return ""
    middles = [(float(item["lower_bound"]) + float(item["upper_bound"])) / 2 for item in buckets]
    low, high = min(*middles, column.numbers[0]), max(*middles, column.numbers[-1])
    if low == high:
        return ""
    weights = [float(item["count"]) for item in buckets]
    then = np.histogram(middles, bins=_BARS, range=(low, high), weights=weights)[0]
    now = np.histogram(column.numbers, bins=_BARS, range=(low, high))[0]
    bars = _bars(then, "then", 0) + _bars(now, "now", 1)
    return f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="distributions">{bars}</svg>'


def _bars(counts: Any, style: str, shift: int) -> str:
    highest, step = max(float(counts.max()), 1.0), _WIDTH / _BARS
    heights = [float(count) / highest * _HEIGHT for count in counts]
    return "".join(
        f'<rect class="{style}" x="{index * step + shift * step / 2:.1f}" y="{_HEIGHT - height:.1f}"'
        f' width="{step / 2:.1f}" height="{height:.1f}"/>'
        for index, height in enumerate(heights)
    )


def _distance_cells(distance: Distance | None) -> tuple[str, str, str]:
    if distance is None:
        return "-", "-", "-"
    return _format(distance.value), _format(distance.threshold), _format(distance.p_value)


def _value(distance: Distance | None) -> float:
    return distance.value if distance is not None else -1.0


def _format(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
