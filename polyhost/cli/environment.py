"""The environment of the command line. No other module of polyhost.cli reads it or changes it."""

import os
from collections.abc import Mapping

from polyhost.cli.errors import CommandError
from polyhost.handlers.errors import BadSettingError
from polyhost.handlers.settings import Settings


def read() -> dict[str, str]:
    """Return a copy of this process's environment."""
    return dict(os.environ)


def complete(defaults: Mapping[str, str]) -> None:
    """Set the variables that are not set."""
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def handler_settings() -> Settings:
    """Return the settings of polyhost's own handlers. Raise CommandError if one of them is invalid."""
    try:
        return Settings.from_environ(read())
    except BadSettingError as error:
        raise CommandError(str(error)) from error
