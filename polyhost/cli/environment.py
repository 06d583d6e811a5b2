"""The environment of the command line. No other module of polyhost.cli reads or changes it."""

import os

from polyhost.cli.errors import CommandError
from polyhost.handlers.errors import BadSettingError
from polyhost.handlers.settings import Settings


def read() -> dict[str, str]:
    """Return a copy of this process's environment."""
    return dict(os.environ)


def update(variables: dict[str, str]) -> None:
    """Set variables for the container, which is about to take over this process."""
    os.environ.update(variables)


def handler_settings() -> Settings:
    """Return the settings of polyhost's own handlers. Raise CommandError if one of them is invalid."""
    try:
        return Settings.from_environ(read())
    except BadSettingError as error:
        raise CommandError(str(error)) from error
