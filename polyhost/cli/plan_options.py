"""The options of `polyhost plan`, as typer takes them."""

from pathlib import Path
from typing import Annotated

import typer

_LOAD, _MODELS, _MACHINES, _WANTED = "The calls", "The models", "The machines", "What is wanted"
_FILE = {"metavar": "FILE", "dir_okay": False, "exists": True}

Trace = Annotated[
    Path | None,
    typer.Option(help="Recorded calls: CSV with a header, or lines of JSON.", rich_help_panel=_LOAD, **_FILE),
]
TimeKey = Annotated[str, typer.Option(help="The trace's name for the time.", rich_help_panel=_LOAD)]
ModelKey = Annotated[str, typer.Option(help="The trace's name for the model.", rich_help_panel=_LOAD)]
ModelCount = Annotated[int | None, typer.Option(min=1, help="Draw calls: the number of models.", rich_help_panel=_LOAD)]
Exponent = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=10,
        help="Draw calls: the k-th model gets 1 / k ^ EXPONENT of the first one's. 0: all alike.",
        show_default="1, or as --metrics says",
        rich_help_panel=_LOAD,
    ),
]
Rate = Annotated[float | None, typer.Option(min=1e-6, help="Draw calls: how many per second.", rich_help_panel=_LOAD)]
Seconds = Annotated[float, typer.Option(min=1e-3, help="Draw calls: for how long.", rich_help_panel=_LOAD)]
Seed = Annotated[int, typer.Option(help="Draw calls: the same seed gives the same calls.", rich_help_panel=_LOAD)]
WarmUp = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Seconds at the start whose calls fill the memory and do not count.",
        show_default="half of --seconds; of a trace 0",
        rich_help_panel=_LOAD,
    ),
]
StoreFolder = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="The models, as polyhost serve --store takes them: memory is estimated from their files.",
        rich_help_panel=_MODELS,
    ),
]
StateFolder = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        exists=True,
        help="With --store: a container's POLYHOST_STATE_DIR, whose measurements come before estimates.",
        rich_help_panel=_MODELS,
    ),
]
MetricsSource = Annotated[
    str | None,
    typer.Option(
        metavar="URL|FILE",
        help="A running container's measurements: its address, or a copy of its /metrics.",
        rich_help_panel=_MODELS,
    ),
]
ProfilesFile = Annotated[
    Path | None,
    typer.Option(help="CSV: model, memory_mb, cold_ms, hot_ms, download_ms.", rich_help_panel=_MODELS, **_FILE),
]
MemoryMb = Annotated[
    float | None,
    typer.Option(min=0, help="Memory of a model of which nothing else says it.", rich_help_panel=_MODELS),
]
ColdMs = Annotated[float | None, typer.Option(min=0, help="The same for the time of a load.", rich_help_panel=_MODELS)]
HotMs = Annotated[float | None, typer.Option(min=0, help="The same for the time of a call.", rich_help_panel=_MODELS)]
DownloadMs = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="The same for the time to fetch and unpack it, before a machine's first load.",
        show_default="0",
        rich_help_panel=_MODELS,
    ),
]
MachineTypes = Annotated[
    list[str] | None,
    typer.Option(
        "--type",
        metavar="TYPE",
        help="A type of machine, such as ml.m5.large, or mine=16000MB,4 (memory, cores). May be repeated.",
        rich_help_panel=_MACHINES,
    ),
]
ContainerMb = Annotated[
    int, typer.Option(min=0, help="What a machine's container and system take.", rich_help_panel=_MACHINES)
]
ReserveMb = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="What a container keeps free: POLYHOST_MEMORY_RESERVE_MB.",
        show_default="5 %, at least 96",
        rich_help_panel=_MACHINES,
    ),
]
BalanceFactor = Annotated[
    float | None,
    typer.Option(
        min=1,
        help="Bounded load: a machine gets at most this times the mean of running calls.",
        show_default="no bound",
        rich_help_panel=_MACHINES,
    ),
]
MachineCount = Annotated[
    int | None, typer.Option("--machines", min=1, help="Try this number only.", rich_help_panel=_MACHINES)
]
MaxMachines = Annotated[
    int, typer.Option(min=1, max=1000, help="Look no further than this number.", rich_help_panel=_MACHINES)
]
P99Ms = Annotated[float | None, typer.Option(min=0, help="At most this 99th percentile.", rich_help_panel=_WANTED)]
ColdShare = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="At most this share of calls that wait for a load.", rich_help_panel=_WANTED),
]
PlotFile = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE", dir_okay=False, help="Write a picture (PNG, SVG, PDF) as well."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
