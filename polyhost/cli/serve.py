"""`polyhost serve`: the container without Docker."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from polyhost.cli import environment
from polyhost.cli.handler_lookup import absolute_handler

_MAX_PORT = 65535


class ListenAddress(StrEnum):
    """The addresses to listen on: this machine's only, or all."""

    LOOPBACK = "127.0.0.1"
    ALL = "0.0.0.0"


class LogFormat(StrEnum):
    """The form of the container's log."""

    JSON = "json"
    TEXT = "text"


class FrontEndName(StrEnum):
    """The program that speaks HTTP: Multi Model Server, or polyhost itself."""

    MMS = "mms"
    NATIVE = "native"


def serve(
    port: Annotated[int, typer.Option(min=1, max=_MAX_PORT, help="Port to listen on.")] = 8080,
    host: Annotated[
        ListenAddress, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines load and invoke models.")
    ] = ListenAddress.LOOPBACK,
    base_dir: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            resolve_path=True,
            help="Replaces /opt/ml: models are in DIR/models, or in DIR/model with --single-model.",
        ),
    ] = Path("/opt/ml"),
    single_model: Annotated[bool, typer.Option("--single-model", help="Serve DIR/model at /invocations.")] = False,
    handler: Annotated[str | None, typer.Option(help="Your own handler: MODULE:FUNCTION, or a file.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes per model.")] = None,
    frontend: Annotated[
        FrontEndName | None,
        typer.Option(help="The front end: Multi Model Server (default), or polyhost's own, without Java."),
    ] = None,
    log_format: Annotated[LogFormat, typer.Option(help="Form of the log.")] = LogFormat.TEXT,
) -> None:
    """Run the container here, without Docker, until SIGTERM or Ctrl-C; many models behind one port by default."""
    settings = {
        "POLYHOST_HOST": host.value,
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SAGEMAKER_BASE_DIR": str(base_dir),
        "SAGEMAKER_MULTI_MODEL": "false" if single_model else "true",
        "SAGEMAKER_HANDLER": absolute_handler(handler),
        "SAGEMAKER_MODEL_SERVER_WORKERS": None if workers is None else str(workers),
        "POLYHOST_FRONTEND": None if frontend is None else frontend.value,
        "POLYHOST_LOG_FORMAT": log_format.value,
    }
    given = {name: value for name, value in settings.items() if value is not None}
    # Only here: the other commands run without the container's modules.
    from polyhost.container.main import main

    raise typer.Exit(main(["serve"], environment.read() | given))
