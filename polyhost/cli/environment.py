"""The environment of the command line. No other module of polyhost.cli reads it or changes it."""

import os
from collections.abc import Mapping
from pathlib import Path

from polyhost.cli.errors import CommandError
from polyhost.handlers.errors import BadSettingError
from polyhost.handlers.settings import Settings

_BASE_DIR = "/opt/ml"  # SageMaker's


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


def fetch_submitted_code(work: Path) -> None:
    """Fetch what SAGEMAKER_SUBMIT_DIRECTORY names into a folder of `work`, which the caller removes, and set it so.

    Raise CommandError if it cannot be fetched, or has no script.
    """
    from polyhost.handlers.script import submitted_code

    try:
        os.environ.update(submitted_code.prepare(handler_settings(), _BASE_DIR, work / "submitted-code"))
    except BadSettingError as error:
        raise CommandError(str(error)) from error
