"""The chart for the README: three figures of the stock stack and of polyhost's two front ends."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.results import Results

_COLOURS = {"stock": "#b0b7c3", "polyhost": "#2563eb", "native": "#0f9d74"}
_LABELS = {"polyhost": "polyhost (MMS)", "native": "polyhost (native)"}
_SIZE_INCHES = (13.0, 3.6)
_DPI = 110
_GROUP = 0.8  # share of the distance between two models


@dataclass(frozen=True)
class Panel:
    """One chart. `relative`: bars are multiples of stock's, because the models are too different for one scale."""

    title: str
    stage: str
    figure: str
    relative: bool = False


_PANELS = (
    Panel("first response of a cold model, ms", "cold", "first_response_ms"),
    Panel("memory per loaded model, MB", "density", "per_model_mb"),
    Panel("requests per second, 8 clients", "hot", "8_clients_per_second", relative=True),
)


def draw(results: Results, path: Path) -> None:
    """Draw the chart into an image file."""
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
        panels = figure.subplots(1, len(_PANELS))
        for axes, panel in zip(panels, _PANELS, strict=True):
            _fill(axes, panel, results)
        figure.legend(
            *panels[0].get_legend_handles_labels(), frameon=False, loc="outside upper left", ncols=len(_COLOURS)
        )
        figure.savefig(path, dpi=_DPI, metadata={"Software": None})


def _fill(axes: Any, panel: Panel, results: Results) -> None:
    models = results.models(panel.stage)
    stacks = [stack for stack in _COLOURS if results.has(stack)]
    width = _GROUP / len(stacks)
    for place, stack in enumerate(stacks):
        values = [_value(results, panel, model, stack) for model in models]
        at = [index + (place + 0.5) * width - _GROUP / 2 for index in range(len(models))]
        label = _LABELS.get(stack, stack)
        bars = axes.bar(at, _heights(results, panel, stack), width, label=label, color=_COLOURS[stack])
        axes.bar_label(bars, [f"{value:,.0f}" for value in values], fontsize=6, padding=1)
    axes.set_title(panel.title, fontsize=10)
    axes.set_xticks(range(len(models)), models, fontsize=8)
    axes.tick_params(axis="y", left=False, labelleft=False)
    axes.spines[["left", "top", "right"]].set_visible(False)


def _heights(results: Results, panel: Panel, stack: str) -> list[float]:
    models = results.models(panel.stage)
    heights = [_value(results, panel, model, stack) for model in models]
    if not panel.relative:
        return heights
    return [
        height / (_value(results, panel, model, "stock") or 1) for height, model in zip(heights, models, strict=True)
    ]


def _value(results: Results, panel: Panel, model: str, stack: str) -> float:
    return results.get(panel.stage, model, stack, panel.figure) or 0.0
