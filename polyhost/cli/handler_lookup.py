"""Which handler the container will choose for a folder; asked of the container's own rules."""

from pathlib import Path

from polyhost.cli.errors import CommandError
from polyhost.handlers import lookup
from polyhost.handlers.errors import HandlerError
from polyhost.handlers.settings import Settings


def handler_of(folder: Path, default: str | None = None) -> str:
    """Return the name of the handler; `default` is that of SAGEMAKER_HANDLER, which fits any files."""
    try:
        return lookup.describe(folder, default, Settings.of_process(), strict=True)
    except HandlerError as error:
        raise CommandError(f"{folder}: {error}") from error


def own_handler(handler: str | None) -> str | None:
    """A file that lies here is meant, wherever the container's processes work; other names go as they are."""
    if handler is None:
        return None
    name, colon, function = handler.partition(":")
    return f"{Path(name).absolute()}{colon}{function}" if Path(name).is_file() else handler
