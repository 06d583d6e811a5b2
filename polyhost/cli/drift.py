"""`polyhost drift`: whether captured invocations are still like a baseline."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polyhost.cli import output
from polyhost.cli.errors import CommandError
from polyhost.cli.s3_folders import fetched

if TYPE_CHECKING:
    from polyhost.drift.data_quality import Baseline, DataQualityResult

FOUND = 3  # the exit status if a constraint does not hold


def drift(
    baseline: Annotated[
        str,
        typer.Argument(
            metavar="BASELINE",
            help="A folder with statistics.json and constraints.json, or a data set: CSV with a header, lines of JSON.",
        ),
    ],
    captures: Annotated[
        str, typer.Argument(metavar="CAPTURES", help="The files of data capture: a folder, or one *.jsonl.")
    ],
    model: Annotated[
        str | None, typer.Option(help="Of a multi-model endpoint: only calls with this TargetModel.")
    ] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a report in HTML.", dir_okay=False)] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            file_okay=False,
            help="Write statistics.json, constraints.json and constraint_violations.json, as Model Monitor does.",
        ),
    ] = None,
    endpoint_url: Annotated[
        str | None,
        typer.Option(envvar="AWS_ENDPOINT_URL", help="Where s3:// is; by default AWS. The emulator's address here."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare captured invocations with a baseline. Both may be s3://BUCKET/PREFIX.

    Exit status: 3 if a constraint does not hold, such as that of drift.
    """
    monitor = _monitor()
    from polyhost.drift.errors import DriftError

    with TemporaryDirectory(prefix="polyhost-drift-") as work:
        try:
            expected = monitor.read_baseline(fetched(baseline, Path(work, "baseline"), endpoint_url))
            calls = monitor.read_captures(fetched(captures, Path(work, "captures"), endpoint_url))
            result = monitor.data_quality((call for call in calls if model in (None, call.model)), expected)
        except DriftError as error:
            raise CommandError(str(error)) from error
    _write(report, save, captures, result, expected)
    if as_json:
        output.print_json(_as_json(result))
    else:
        _print_text(result)
    if result.violations:
        raise typer.Exit(FOUND)


def _monitor() -> Any:
    try:
        from polyhost.drift import monitor
    except ModuleNotFoundError as error:
        raise CommandError(f"{error.name} is not installed; install polyhost[drift]") from error
    return monitor


def _write(
    report: Path | None, save: Path | None, captures: str, result: "DataQualityResult", baseline: "Baseline"
) -> None:
    from polyhost.drift.monitor import CONSTRAINTS, STATISTICS, VIOLATIONS
    from polyhost.drift.report import html_report

    try:
        if report is not None:
            report.write_text(html_report(f"Drift in {captures}", result, baseline))
        if save is not None:
            save.mkdir(parents=True, exist_ok=True)
            contents = (result.statistics, baseline.constraints, result.violations_file())
            for name, content in zip((STATISTICS, CONSTRAINTS, VIOLATIONS), contents, strict=True):
                (save / name).write_text(json.dumps(content, indent=2))
    except OSError as error:
        raise CommandError(f"cannot write {error.filename}: {error.strerror}; choose another --report or --save") from (
            error
        )


def _as_json(result: "DataQualityResult") -> dict[str, Any]:
    distances = result.distances
    return {
        "rows": max((column.count for column in result.columns), default=0),
        "drifted": sorted(name for name, distance in distances.items() if distance.drifted),
        "features": [
            {
                "name": column.name,
                "type": column.type,
                "completeness": column.completeness,
                "distance": distances[column.name].value if column.name in distances else None,
                "threshold": distances[column.name].threshold if column.name in distances else None,
                "p_value": distances[column.name].p_value if column.name in distances else None,
            }
            for column in result.columns
        ],
        **result.violations_file(),
    }


def _print_text(result: "DataQualityResult") -> None:
    rows = max((column.count for column in result.columns), default=0)
    if not result.violations:
        typer.echo(f"no drift in {rows} rows of {len(result.columns)} columns")
        return
    output.print_columns([(item.feature, item.check, item.description) for item in result.violations])
    names = {item.feature for item in result.violations}
    typer.echo(f"{len(result.violations)} violations in {rows} rows, of {len(names)} columns")
