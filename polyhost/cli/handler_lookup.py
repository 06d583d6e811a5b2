"""The handler that the container will use for a model directory, by the container's own rules."""

from pathlib import Path

from polyhost.cli import environment
from polyhost.cli.errors import CommandError
from polyhost.handlers import lookup
from polyhost.handlers.errors import HandlerError


def describe_handler(folder: Path, default: str | None = None) -> str:
    """Return the name of the handler. `default` is that of SAGEMAKER_HANDLER, which fits any files."""
    settings = environment.handler_settings()
    try:
        return lookup.describe(folder, default, settings, strict=True)
    except HandlerError as error:
        raise CommandError(f"{folder}: {error}") from error


def absolute_handler(handler: str | None) -> str | None:
    """Make the path of a handler's file absolute, since workers run in other folders; leave MODULE:FUNCTION alone."""
    if handler is None:
        return None
    name, colon, function = handler.partition(":")
    return f"{Path(name).absolute()}{colon}{function}" if Path(name).is_file() else handler
