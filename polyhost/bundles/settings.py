"""The settings that a bundle brings: variables for its container, in the form of `docker run --env-file`."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from polyhost.bundles.errors import BundleError
from polyhost.bundles.layout import MODELS, SETTINGS

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STORE = "POLYHOST_MODEL_STORE"
# What the machine that serves decides, and a secret.
_NOT_BUNDLED = {
    _STORE: "a bundle serves its own models",
    "POLYHOST_BEARER_TOKEN": "a secret does not belong into a file; give it to the machine that serves",
    "POLYHOST_SIGNING_KEYS": "secrets do not belong into a file; give them to the machine that serves",
    "SAGEMAKER_BASE_DIR": "a bundle serves its own models",
    "SAGEMAKER_BIND_TO_PORT": "the machine that serves chooses the port",
    "SAGEMAKER_MULTI_MODEL": "a bundle serves many models",
}


def parse(given: Iterable[str]) -> dict[str, str]:
    """Read settings given as NAME=VALUE, and check them as a container does. Raises BundleError."""
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise BundleError(f"setting {text!r} must be NAME=VALUE, with the name of a variable")
        if name in _NOT_BUNDLED:
            raise BundleError(f"{name} cannot be a setting of a bundle: {_NOT_BUNDLED[name]}")
        if not value.isprintable():
            raise BundleError(f"{name}={value!r}: a bundle takes printable values of one line")
        found[name] = value
    _check(found)
    return found


def write(folder: Path, settings: Mapping[str, str]) -> None:
    """Write them into a bundle."""
    (folder / SETTINGS).write_text("".join(f"{name}={value}\n" for name, value in settings.items()))


def for_serving(folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a container that serves this bundle without an engine."""
    return {**settings, _STORE: str(folder.absolute() / MODELS)}


def _check(settings: Mapping[str, str]) -> None:
    from polyhost.container.config import Config
    from polyhost.container.errors import ConfigError

    try:
        Config.from_environ({**settings, _STORE: "/opt/ml/models"})
    except ConfigError as error:
        raise BundleError(f"a container does not take these settings: {error}") from error
