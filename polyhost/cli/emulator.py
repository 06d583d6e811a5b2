"""`polyhost emulator`: a local SageMaker that plain boto3 talks to."""

import json
import logging
import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from polyhost.cli.errors import CommandError

PAGE = "/_polyhost/"

app = typer.Typer(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})

Url = Annotated[str | None, typer.Option(help="Where the emulator listens.", show_default="of --host and --port")]


class DriverName(StrEnum):
    """How containers are started."""

    PROCESS = "process"
    DOCKER = "docker"


class FaultKind(StrEnum):
    """What goes wrong."""

    SLOW_LOAD = "slow-load"
    REFUSE_LOAD = "refuse-load"
    KILL_CONTAINER = "kill-container"
    TIME_OUT = "time-out"
    ERROR = "error"


@app.callback(epilog="Example: [bold]polyhost emulator --memory-scale 0.25[/bold]")
def emulator(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 4566,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    driver: Annotated[DriverName, typer.Option(help="Containers as processes, or of the Docker engine.")] = (
        DriverName.PROCESS
    ),
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", file_okay=False, resolve_path=True, help="Survives a restart.")
    ] = None,
    memory_scale: Annotated[
        float, typer.Option(min=0.001, max=16, help="Multiplies the instance types' memory.")
    ] = 1.0,
    s3_endpoint: Annotated[str | None, typer.Option(help="Download models from this S3 instead.")] = None,
    command: Annotated[
        str | None, typer.Option(help="Start this in place of `polyhost serve`; it gets the argument serve.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=60, help="Seconds that an invocation may take.")] = 60.0,
) -> None:
    """Run a local SageMaker hosting service, with S3 and more beside it, until SIGTERM or Ctrl-C."""
    context.obj = f"http://{host}:{port}"
    if context.invoked_subcommand is not None:
        return
    try:
        import uvloop

        from polyhost.emulator.config import EmulatorConfig
        from polyhost.emulator.errors import StartError
        from polyhost.emulator.server import serve
    except ModuleNotFoundError as error:
        raise CommandError(f"the emulator needs {error.name}: pip install 'polyhost[emulator]'") from error
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    words = tuple(shlex.split(command)) if command else None
    config = EmulatorConfig(port, host, driver.value, state, memory_scale, s3_endpoint, words, timeout)
    try:
        uvloop.run(serve(config, _announce))
    except StartError as error:
        raise CommandError(str(error)) from error


def _announce(url: str) -> None:
    typer.echo(f"SageMaker, S3 and more at {url} ; what goes on: {url}{PAGE}")
    typer.echo(f'In another shell: eval "$(polyhost emulator env --url {url})"')


@app.command(epilog='Example: [bold]eval "$(polyhost emulator env)"[/bold]')
def env(
    context: typer.Context,
    url: Url = None,
    region: Annotated[str, typer.Option(help="AWS region.")] = "us-east-1",
) -> None:
    """Print the variables that make AWS's clients talk to the emulator."""
    variables = {
        "AWS_ENDPOINT_URL": _address(context, url),
        "AWS_ACCESS_KEY_ID": "polyhost",
        "AWS_SECRET_ACCESS_KEY": "polyhost",
        "AWS_DEFAULT_REGION": region,
    }
    for name, value in variables.items():
        typer.echo(f"export {name}={shlex.quote(value)}")


@app.command(epilog="Example: [bold]polyhost emulator fault refuse-load --count 2 --model churn.tar.gz[/bold]")
def fault(
    context: typer.Context,
    kind: Annotated[FaultKind, typer.Argument(help="What goes wrong.")],
    count: Annotated[int, typer.Option(min=1, help="How often.")] = 1,
    skip: Annotated[int, typer.Option(min=0, help="How many occasions go by first.")] = 0,
    seconds: Annotated[float, typer.Option(min=0, help="How long a slow load takes.")] = 5.0,
    code: Annotated[str, typer.Option(help="Of an error, such as ThrottlingException.")] = "",
    endpoint: Annotated[str, typer.Option(help="Only of this endpoint.")] = "",
    variant: Annotated[str, typer.Option(help="Only of this variant.")] = "",
    model: Annotated[str, typer.Option(help="Only of this model, as TargetModel names it.")] = "",
    url: Url = None,
) -> None:
    """Make something go wrong in a running emulator, to see how a client takes it."""
    wanted = {"kind": kind.value, "count": count, "skip": skip, "seconds": seconds, "code": code}
    filters = {"endpoint": endpoint, "variant": variant, "model": model}
    typer.echo(json.dumps(_post(_address(context, url), "/_polyhost/faults", wanted | filters)))


def _address(context: typer.Context, url: str | None) -> str:
    return (url or str(context.obj)).rstrip("/")


def _post(url: str, path: str, content: dict[str, Any]) -> Any:
    try:
        answer = httpx.post(url + path, json=content, timeout=10, trust_env=False)
        known = answer.json()
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise CommandError(f"no emulator answers at {url} ({error}); start it with polyhost emulator") from error
    except ValueError as error:
        raise CommandError(f"what answers at {url} is no emulator: {answer.text[:200]!r}") from error
    if answer.status_code != 201:
        raise CommandError(f"the emulator refused the fault: {answer.text}")
    return known
