"""Which handler the container will choose for a folder; asked of the container's own rules."""

import json
import os
from pathlib import Path

from polyhost.cli.errors import CommandError
from polyhost.handlers import registry
from polyhost.handlers.errors import HandlerError
from polyhost.handlers.settings import Settings

MANIFEST = Path("MAR-INF") / "MANIFEST.json"


def handler_of(folder: Path, default: str | None = None) -> str:
    """The name of the handler; `default` is the container's own one (SAGEMAKER_HANDLER), which fits any files."""
    if named := default or _named_in_manifest(folder):
        return named
    try:
        return registry.choose(folder, Settings.from_environ(os.environ))
    except HandlerError as error:
        raise CommandError(f"{folder}: {error}") from error


def own_handler(handler: str | None) -> str | None:
    """A file that lies here is meant, wherever the container's processes work; other names go as they are."""
    if handler is None:
        return None
    name, colon, function = handler.partition(":")
    return f"{Path(name).absolute()}{colon}{function}" if Path(name).is_file() else handler


def _named_in_manifest(folder: Path) -> str | None:
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        named = json.loads(path.read_bytes())["model"]["handler"]
    except (ValueError, KeyError, TypeError) as error:
        raise CommandError(
            f'{path} names no handler ({error!r}); write {{"model": {{"handler": "FILE.py:handle"}}}}, or remove it'
        ) from error
    return str(named)
