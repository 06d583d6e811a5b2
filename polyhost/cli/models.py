"""`polyhost models`: the container's model API from a shell."""

import sys
import time
from pathlib import Path
from typing import Annotated

import httpx
import typer

from polyhost.cli import output, request_body
from polyhost.cli.errors import CommandError
from polyhost.client import PolyhostClient, RequestError

app = typer.Typer(
    no_args_is_help=True,
    help="Load, list, invoke and unload the models of a running container.",
    epilog="Example: [bold]polyhost models load churn /opt/ml/models/churn/model[/bold], "
    "then [bold]polyhost models invoke churn --body rows.csv[/bold]",
)

Url = Annotated[str, typer.Option("--url", metavar="URL", help="Address of the container.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The model's name in the container.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_LOCAL = "http://127.0.0.1:8080"


@app.command("list", epilog="Example: [bold]polyhost models list --url http://127.0.0.1:9000[/bold]")
def list_(url: Url = _LOCAL, as_json: AsJson = False) -> None:
    """Print the loaded models."""
    with PolyhostClient(url) as container:
        models = container.list_models()
    if as_json:
        output.print_json([{"name": model.name, "url": model.url} for model in models])
    elif models:
        output.print_columns([("NAME", "URL"), *((model.name, model.url) for model in models)])
    else:
        typer.echo(f"No models are loaded at {url}.", err=True)


@app.command(epilog="Example: [bold]polyhost models describe churn[/bold]")
def describe(name: Name, url: Url = _LOCAL) -> None:
    """Print the container's description of one model, as JSON."""
    with PolyhostClient(url) as container:
        output.print_json(container.describe(name))


@app.command(epilog="Example: [bold]polyhost models load churn /opt/ml/models/churn/model[/bold]")
def load(
    name: Name,
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="The model directory, below the container's models folder.")
    ],
    url: Url = _LOCAL,
    as_json: AsJson = False,
) -> None:
    """Load a model from its directory."""
    folder = str(Path(folder).absolute())
    started = time.perf_counter()
    with PolyhostClient(url) as container:
        _load(container, name, folder)
    seconds = round(time.perf_counter() - started, 3)
    if as_json:
        output.print_json({"name": name, "url": folder, "seconds": seconds})
    else:
        typer.echo(f"Loaded {name} from {folder} in {seconds:.3f} s.")


@app.command(epilog="Example: [bold]polyhost models invoke churn --body rows.csv --accept application/json[/bold]")
def invoke(
    name: Name,
    body: Annotated[str, typer.Option(metavar="FILE", help="The request; - reads the standard input.")],
    url: Url = _LOCAL,
    content_type: Annotated[
        str | None, typer.Option(help="Media type of the body; by default that of its file's name.")
    ] = None,
    accept: Annotated[str | None, typer.Option(help="Media type of the response.")] = None,
    target_model: Annotated[str | None, typer.Option(help="Name of the archive, which SageMaker sends along.")] = None,
    output_file: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the response to this file, not to stdout."),
    ] = None,
) -> None:
    """Send a request to a loaded model and print its response."""
    content = request_body.read(body)
    with PolyhostClient(url) as container:
        body_type = content_type or request_body.media_type(body)
        response = container.invoke(name, content, body_type, accept=accept, target_model=target_model)
    if output_file is None:
        _to_stdout(response.content)
    else:
        _to_file(response.content, output_file)


@app.command(epilog="Example: [bold]polyhost models unload churn[/bold]")
def unload(name: Name, url: Url = _LOCAL) -> None:
    """Unload a model, and return when its memory is free."""
    with PolyhostClient(url) as container:
        container.unload(name)
    typer.echo(f"Unloaded {name}.")


def _load(container: PolyhostClient, name: str, folder: str) -> None:
    try:
        container.load(name, folder)
    except RequestError as error:
        if error.status < httpx.codes.BAD_REQUEST or error.status == httpx.codes.CONFLICT:
            raise
        # Multi Model Server does not pass on why a load failed.
        hint = f"its log says why, and so does polyhost check {folder}"
        raise CommandError(f"{error}; {hint}") from error


def _to_stdout(content: bytes) -> None:
    """Write the response byte for byte, with a final newline on a terminal."""
    typer.echo(content, nl=sys.stdout.isatty() and not content.endswith(b"\n"))


def _to_file(content: bytes, path: Path) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise CommandError(f"cannot write the response to {path}: {error.strerror}") from error
    typer.echo(f"Wrote {output.size(len(content))} to {path}.", err=True)
