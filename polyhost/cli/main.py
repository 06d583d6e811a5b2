"""The command `polyhost`: one module per verb, assembled here."""

from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from polyhost.cli import bundle, check, compare, drift, emulator, models, pack, plan, serve
from polyhost.cli.errors import CommandError
from polyhost.client import RequestError


class Commands(TyperGroup):
    """Prints an expected error as one sentence; anything else that escapes is a defect and keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (CommandError, RequestError) as error:
            typer.echo(f"polyhost: {error}", err=True)
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"polyhost {version('polyhost')}")
        raise typer.Exit


@app.callback(
    epilog="Example: [bold]polyhost pack ./churn -o churn.tar.gz[/bold], "
    "then [bold]polyhost check churn.tar.gz --body rows.csv[/bold]"
)
def polyhost(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Many models of many frameworks behind one SageMaker multi-model endpoint.

    Exit status: 0 for success, 1 if the command failed, 2 for wrong usage; 3 if polyhost drift finds drift.
    """


app.command(epilog="Example: [bold]polyhost serve --port 9000 --base-dir ./ml[/bold]")(serve.serve)
app.command(epilog="Example: [bold]polyhost pack ./churn -o churn.tar.gz[/bold]")(pack.pack)
app.command(epilog="Example: [bold]polyhost check churn.tar.gz --body rows.csv --accept application/json[/bold]")(
    check.check
)
app.command(
    epilog="Example: [bold]polyhost bundle ./edge --store ./models --image polyhost --save-image[/bold], "
    "then on the other machine [bold]./edge/run[/bold]"
)(bundle.bundle)
app.command(
    epilog="Example: [bold]polyhost plan --models 300 --rate 50 --memory-mb 40 --cold-ms 120 --hot-ms 8 "
    "--type ml.m5.large --type ml.m5.xlarge --p99-ms 100[/bold]"
)(plan.plan)
app.command(
    epilog="Example: [bold]polyhost drift train.csv s3://captures/live/digits --endpoint-url http://127.0.0.1:4566 "
    "--report drift.html[/bold]"
)(drift.drift)
app.command(epilog="Example: [bold]polyhost compare digits --period 1 --captures s3://captures/live[/bold]")(
    compare.compare
)
app.add_typer(models.app, name="models")
app.add_typer(emulator.app, name="emulator")


def main() -> None:
    """Run the console script."""
    app()
