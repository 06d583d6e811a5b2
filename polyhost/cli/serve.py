"""`polyhost serve`: the container without Docker."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from polyhost.bundles.errors import BundleError
from polyhost.bundles.reader import open_bundle
from polyhost.cli import environment, extras
from polyhost.cli.errors import CommandError
from polyhost.cli.handler_lookup import absolute_handler

_MAX_PORT = 65535
_BASE_DIR = Path("/opt/ml")


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


class RequirementsChoice(StrEnum):
    """Where the packages come from that archives ask for."""

    OFF = "off"
    WHEELS = "wheels"
    INSTALL = "install"
    ISOLATED = "isolated"


def serve(
    port: Annotated[int, typer.Option(min=1, max=_MAX_PORT, help="Port to listen on.")] = 8080,
    host: Annotated[
        ListenAddress, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines load and invoke models.")
    ] = ListenAddress.LOOPBACK,
    store: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHERE",
            help="Where models come from on their first invocation: a folder of archives, or s3://BUCKET/PREFIX/.",
        ),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Serve what polyhost bundle has made, if its checksums are right."),
    ] = None,
    base_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            resolve_path=True,
            help="Replaces /opt/ml: models are in DIR/models, or in DIR/model with --single-model.",
        ),
    ] = None,
    single_model: Annotated[bool, typer.Option("--single-model", help="Serve DIR/model at /invocations.")] = False,
    handler: Annotated[str | None, typer.Option(help="Your own handler: MODULE:FUNCTION, or a file.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes per model.")] = None,
    frontend: Annotated[
        FrontEndName | None,
        typer.Option(help="The front end: Multi Model Server (default), or polyhost's own, without Java."),
    ] = None,
    requirements: Annotated[
        RequirementsChoice | None,
        typer.Option(help="Install the packages of an archive's requirements.txt: from its wheels, or an index."),
    ] = None,
    log_format: Annotated[LogFormat, typer.Option(help="Form of the log.")] = LogFormat.TEXT,
) -> None:
    """Run the container here, without Docker, until SIGTERM or Ctrl-C; many models behind one port by default."""
    bundled = _bundled(bundle, alone=not (store or base_dir or single_model))
    if base_dir is None and not store and bundle is None and not _BASE_DIR.is_dir():
        raise typer.BadParameter(f"{_BASE_DIR} does not exist; give --store, --bundle or --base-dir")
    settings = {
        "POLYHOST_MODEL_STORE": _store(store or [], single_model),
        "POLYHOST_HOST": host.value,
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SAGEMAKER_BASE_DIR": str(base_dir or _BASE_DIR),
        "SAGEMAKER_MULTI_MODEL": "false" if single_model else "true",
        "SAGEMAKER_HANDLER": absolute_handler(handler),
        "SAGEMAKER_MODEL_SERVER_WORKERS": None if workers is None else str(workers),
        "POLYHOST_FRONTEND": None if frontend is None else frontend.value,
        "POLYHOST_REQUIREMENTS": None if requirements is None else requirements.value,
        "POLYHOST_LOG_FORMAT": log_format.value,
    }
    given = {name: value for name, value in settings.items() if value is not None}
    extras.require("serve", "polyhost serve")
    # Only here: the other commands run without the container's modules.
    from polyhost.container.main import main

    raise typer.Exit(main(["serve"], bundled | environment.read() | given))


def _bundled(folder: Path | None, alone: bool) -> dict[str, str]:
    """Check a bundle, and return its settings. Raises CommandError and typer.BadParameter."""
    if folder is None:
        return {}
    if not alone:
        raise typer.BadParameter("--bundle brings its models; leave out --store, --base-dir and --single-model")
    try:
        return open_bundle(folder)
    except BundleError as error:
        raise CommandError(str(error)) from error


def _store(given: list[str], single_model: bool) -> str | None:
    """Return the one store, a folder as an absolute path. Raises typer.BadParameter."""
    if not given:
        return None
    if len(given) > 1:
        raise typer.BadParameter(f"--store names {len(given)} stores, {' and '.join(given)}; give one")
    if single_model:
        raise typer.BadParameter("--store serves many models, and --single-model one; give one of the two")
    return given[0] if "://" in given[0] else str(Path(given[0]).absolute())
