"""`polyhost compare`: which of an endpoint's variants is better, and how certain that is."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from polyhost.cli import output
from polyhost.cli.errors import CommandError


def compare(
    endpoint: Annotated[str, typer.Argument(help="Name of the endpoint.")],
    baseline: Annotated[
        str | None, typer.Option(help="The variant that the others are compared with.", show_default="the first one")
    ] = None,
    captures: Annotated[
        str | None,
        typer.Option(
            metavar="WHERE",
            help="Captured answers: s3://BUCKET/PREFIX of the endpoint's data capture, or a folder of the same layout.",
            show_default="where the endpoint captures",
        ),
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="How far to look back.")] = 60.0,
    period: Annotated[
        int, typer.Option(min=1, help="Seconds of a period of latencies; AWS has whole minutes, the emulator seconds.")
    ] = 60,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.9999, help="What counts as certain.")] = 0.95,
    tolerance: Annotated[float, typer.Option(min=0, help="How far numbers in answers that agree may differ.")] = 1e-6,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare the variants of an endpoint: errors, latencies, and answers to the same requests.

    It reads CloudWatch, and S3, of the account that the environment names: AWS, or polyhost emulator.
    """
    try:
        from polyhost.cli.comparing import Comparing
        from polyhost.comparison.errors import ComparisonError
        from polyhost.comparison.measurements import Span
    except ModuleNotFoundError as error:
        raise CommandError(f"polyhost compare needs {error.name}: pip install 'polyhost[compare]'") from error
    end = datetime.now(UTC)
    span = Span(end - timedelta(minutes=minutes), end + timedelta(seconds=period), period)
    try:
        report = Comparing(endpoint, span, confidence, tolerance).run(baseline, captures)
    except ComparisonError as error:
        raise CommandError(str(error)) from error
    if json_:
        output.print_json(_json(report))
    else:
        report.print()


def _json(report: Any) -> dict[str, Any]:
    variants = [
        asdict(item) | {"error_rate": item.error_rate, "error_interval": report.interval_of(item)}
        for item in report.variants
    ]
    return {
        "endpoint": report.endpoint,
        "confidence": report.confidence,
        "variants": variants,
        "comparisons": [asdict(item) for item in report.comparisons],
    }
