"""The options of `polyhost plan`, as typer takes them."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

_calls = partial(typer.Option, rich_help_panel="The calls")
_models = partial(typer.Option, rich_help_panel="The models")
_machines = partial(typer.Option, rich_help_panel="The machines")
_wanted = partial(typer.Option, rich_help_panel="What is wanted")
_FILE = {"metavar": "FILE", "dir_okay": False, "exists": True}

Trace = Annotated[
    Path | None,
    _calls(help="Recorded calls: CSV with a header, or lines of JSON.", **_FILE),
]
TimeKey = Annotated[str, _calls(help="The trace's name for the time.")]
ModelKey = Annotated[str, _calls(help="The trace's name for the model.")]
ModelCount = Annotated[int | None, _calls(min=1, help="Draw calls: the number of models.")]
Exponent = Annotated[
    float | None,
    _calls(
        min=0,
        max=10,
        help="Draw calls: the k-th model gets 1 / k ^ EXPONENT of the first one's. 0: all alike.",
        show_default="1, or as --metrics says",
    ),
]
Rate = Annotated[float | None, _calls(min=1e-6, help="Draw calls: how many per second.")]
Seconds = Annotated[float, _calls(min=1e-3, help="Draw calls: for how long.")]
Seed = Annotated[int, _calls(help="Draw calls: the same seed gives the same calls.")]
WarmUp = Annotated[
    float | None,
    _calls(
        min=0,
        help="Seconds at the start whose calls fill the memory and do not count.",
        show_default="half of --seconds; of a trace 0",
    ),
]
StoreFolder = Annotated[
    Path | None,
    _models(
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="The models, as polyhost serve --store takes them: memory is estimated from their files.",
    ),
]
StateFolder = Annotated[
    Path | None,
    _models(
        metavar="DIR",
        exists=True,
        help="With --store: a container's POLYHOST_STATE_DIR, whose measurements come before estimates.",
    ),
]
MetricsSource = Annotated[
    str | None,
    _models(
        metavar="URL|FILE",
        help="A running container's measurements: its address, or a copy of its /metrics.",
    ),
]
ProfilesFile = Annotated[
    Path | None,
    _models(help="CSV: model, memory_mb, cold_ms, hot_ms, download_ms.", **_FILE),
]
MemoryMb = Annotated[
    float | None,
    _models(min=0, help="Memory of a model of which nothing else says it."),
]
ColdMs = Annotated[float | None, _models(min=0, help="The same for the time of a load.")]
HotMs = Annotated[float | None, _models(min=0, help="The same for the time of a call.")]
DownloadMs = Annotated[
    float | None,
    _models(
        min=0,
        help="The same for the time to fetch and unpack it, before a machine's first load.",
        show_default="0",
    ),
]
MachineTypes = Annotated[
    list[str] | None,
    _machines(
        "--type",
        metavar="TYPE",
        help="A type of machine, such as ml.m5.large, or mine=16000MB,4 (memory, cores). May be repeated.",
    ),
]
ContainerMb = Annotated[int, _machines(min=0, help="What a machine's container and system take.")]
ReserveMb = Annotated[
    int | None,
    _machines(
        min=0,
        help="What a container keeps free: POLYHOST_MEMORY_RESERVE_MB.",
        show_default="5 %, at least 96",
    ),
]
BalanceFactor = Annotated[
    float | None,
    _machines(
        min=1,
        help="Bounded load: a machine gets at most this times the mean of running calls.",
        show_default="no bound",
    ),
]
MachineCount = Annotated[int | None, _machines("--machines", min=1, help="Try this number only.")]
MaxMachines = Annotated[int, _machines(min=1, max=1000, help="Look no further than this number.")]
P99Ms = Annotated[float | None, _wanted(min=0, help="At most this 99th percentile.")]
ColdShare = Annotated[
    float | None,
    _wanted(min=0, max=1, help="At most this share of calls that wait for a load."),
]
PlotFile = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE", dir_okay=False, help="Write a picture (PNG, SVG, PDF) as well."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
