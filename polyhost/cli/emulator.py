"""`polyhost emulator`: a local SageMaker that plain boto3 talks to."""

import json
import logging
import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from polyhost.aws_environ import aws_environ
from polyhost.cli.errors import CommandError

_DASHBOARD_PATH = "/_polyhost/"

app = typer.Typer(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})

_Url = Annotated[str | None, typer.Option(help="URL of the emulator.", show_default="of --host and --port")]


class DriverName(StrEnum):
    """Ways to start containers."""

    PROCESS = "process"
    DOCKER = "docker"


@app.callback(epilog="Example: [bold]polyhost emulator --memory-scale 0.25[/bold]")
def emulator(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 4566,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    driver: Annotated[DriverName, typer.Option(help="Run containers as processes, or in the Docker engine.")] = (
        DriverName.PROCESS
    ),
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            file_okay=False,
            resolve_path=True,
            help="Folder in which endpoints, alarms, S3, SQS, SNS and IAM survive a restart, or a kill.",
        ),
    ] = None,
    memory_scale: Annotated[float, typer.Option(min=0.001, max=16, help="Factor on the instance types' memory.")] = 1.0,
    s3_endpoint: Annotated[str | None, typer.Option(help="Download models from this S3 instead.")] = None,
    command: Annotated[
        str | None, typer.Option(help="Start this in place of `polyhost serve`; it gets the argument serve.")
    ] = None,
    image_command: Annotated[
        list[str] | None,
        typer.Option(metavar="IMAGE=COMMAND", help="The same for images that match a pattern; may be repeated."),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=60, help="Seconds that an invocation may take.")] = 60.0,
    serverless_idle: Annotated[
        float,
        typer.Option(min=0.1, help="Seconds until an idle serverless container, or function, ends."),
    ] = 600.0,
    time_scale: Annotated[
        float,
        typer.Option(min=0.005, max=1, help="Factor on alarms' periods, cool-downs and the waits of deployments."),
    ] = 1.0,
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
    logging.getLogger("polyhost.emulator.gateway.addresses").setLevel(logging.INFO)
    config = EmulatorConfig(
        port=port,
        host=host,
        driver=driver.value,
        state=state,
        memory_scale=memory_scale,
        s3_endpoint=s3_endpoint,
        command=tuple(shlex.split(command)) if command else None,
        image_commands=dict(map(_image_command, image_command or [])),
        timeout_s=timeout,
        serverless_idle_s=serverless_idle,
        time_scale=time_scale,
    )
    try:
        uvloop.run(serve(config, _announce))
    except StartError as error:
        raise CommandError(str(error)) from error


def _image_command(option: str) -> tuple[str, tuple[str, ...]]:
    image, found, command = option.partition("=")
    words = tuple(shlex.split(command))
    if not (image and found and words):
        raise CommandError(
            f"--image-command {option!r} is not IMAGE=COMMAND; for example '*xgboost*=my-server --quiet'"
        )
    return image, words


def _announce(url: str) -> None:
    typer.echo(f"SageMaker, S3 and more at {url} ; dashboard: {url}{_DASHBOARD_PATH}")
    typer.echo(f'In another shell: eval "$(polyhost emulator env --url {url})"')


@app.command(epilog='Example: [bold]eval "$(polyhost emulator env)"[/bold]')
def env(
    context: typer.Context,
    url: _Url = None,
    region: Annotated[str, typer.Option(help="AWS region.")] = "us-east-1",
) -> None:
    """Print the variables that direct AWS's clients to the emulator."""
    for name, value in aws_environ(_emulator_url(context, url), region).items():
        typer.echo(f"export {name}={shlex.quote(value)}")


@app.command(epilog="Example: [bold]polyhost emulator fault refuse-load --count 2 --model churn.tar.gz[/bold]")
def fault(
    context: typer.Context,
    kind: Annotated[
        str, typer.Argument(help="Kind of fault: slow-load, refuse-load, kill-container, time-out or error.")
    ],
    count: Annotated[int, typer.Option(min=1, help="How many occasions it hits.")] = 1,
    skip: Annotated[int, typer.Option(min=0, help="How many occasions it lets pass first.")] = 0,
    seconds: Annotated[float, typer.Option(min=0, help="How much longer a slow load takes.")] = 5.0,
    code: Annotated[str, typer.Option(help="Code of an error, such as ThrottlingException.")] = "",
    endpoint: Annotated[str, typer.Option(help="Only at this endpoint.")] = "",
    variant: Annotated[str, typer.Option(help="Only at this variant.")] = "",
    model: Annotated[str, typer.Option(help="Only for this model, as TargetModel names it.")] = "",
    url: _Url = None,
) -> None:
    """Inject a fault into a running emulator, to see how a client handles it."""
    wanted = {"kind": kind, "count": count, "skip": skip, "seconds": seconds, "code": code}
    filters = {"endpoint": endpoint, "variant": variant, "model": model}
    typer.echo(json.dumps(_post(_emulator_url(context, url), "/_polyhost/faults", wanted | filters)))


def _emulator_url(context: typer.Context, url: str | None) -> str:
    return (url or str(context.obj)).rstrip("/")


def _post(url: str, path: str, content: dict[str, Any]) -> Any:
    try:
        response = httpx.post(url + path, json=content, timeout=10, trust_env=False)
        parsed = response.json()
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise CommandError(f"no emulator responds at {url} ({error}); start it with polyhost emulator") from error
    except ValueError as error:
        raise CommandError(f"the server at {url} is not an emulator: {response.text[:200]!r}") from error
    if response.status_code != 201:
        raise CommandError(f"the emulator rejected the fault: {response.text}")
    return parsed
