"""How one model is served: the settings in its archive's polyhost.json, else the container's."""

import json
import reprlib
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from polyhost.container.config import Config
from polyhost.container.native.errors import bad_request
from polyhost.container.worker.model_directory import why_unreadable

FILE = "polyhost.json"
_MAX_BYTES = 1 << 16


@dataclass(frozen=True)
class ServingOptions:
    """`batch_delay_ms`: how long a request may wait for others of its batch. `queue_size`: requests that may wait."""

    batch_size: int
    batch_delay_ms: float
    queue_size: int
    response_timeout_s: float

    @classmethod
    def of(cls, config: Config) -> "ServingOptions":
        """Return the container's own options."""
        return cls(config.batch_size, config.batch_delay_ms, config.queue_size, config.response_timeout_s)

    def of_archive(self, directory: Path, model: str) -> "ServingOptions":
        """Return these options with those of the archive's file in their place.

        Raise Rejection, which names the file, the key, its value and the values allowed.
        """
        options = _read_options(directory, model)
        known = [field.name for field in fields(ServingOptions)]
        for key, value in options.items():
            if key not in known:
                message = f"{FILE}: unknown key {reprlib.repr(key)}; known are {', '.join(known)}"
                raise bad_request(message, model, "load")
            _check(key, value, f"{FILE}: {key}", model)
        return replace(self, **options)


def of_load_request(parameters: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return the options that a load request names, by MMS's names for them (RegisterModelRequest.java).

    A query has text. Raise Rejection, which names the parameter, its value and the values allowed.
    """
    options: dict[str, Any] = {}
    for name, key in _OF_LOAD_REQUEST.items():
        value = parameters.get(name)
        if value is None or value == "":
            continue
        if isinstance(value, str) and value.isascii() and value.isdecimal():
            value = int(value[:10])
        _check(key, value, name, model)
        options[key] = value
    return options


def _read_options(directory: Path, model: str) -> dict[str, Any]:
    path = directory / FILE
    try:
        if not path.resolve().is_relative_to(directory.resolve()):
            raise bad_request(f"{FILE} is a link that leads out of the model directory", model, "load")
        if not stat.S_ISREG(path.stat().st_mode):  # opening a FIFO blocks until there is a writer
            raise bad_request(f"{FILE} is not a regular file", model, "load")
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        reason = why_unreadable(path) if isinstance(error, PermissionError) else None
        raise bad_request(reason or f"{FILE} cannot be read: {error}", model, "load") from None
    if len(content) > _MAX_BYTES:
        raise bad_request(f"{FILE} has more than {_MAX_BYTES} bytes", model, "load")
    try:
        options = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"{FILE} is not JSON: {error}", model, "load") from None
    if not isinstance(options, dict):
        raise bad_request(f"{FILE} holds a {type(options).__name__}; it must hold an object", model, "load")
    return options


def _check(key: str, value: Any, name: str, model: str) -> None:
    is_allowed, allowed = _RULES[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_allowed(value):
        raise bad_request(f"{name} is {reprlib.repr(value)}; it must be {allowed}", model, "load")


def _up_to(maximum: int) -> tuple[Callable[[float], bool], str]:
    return lambda value: isinstance(value, int) and 1 <= value <= maximum, f"a whole number from 1 to {maximum}"


_RULES: dict[str, tuple[Callable[[float], bool], str]] = {
    "batch_size": _up_to(10_000),
    "queue_size": _up_to(1_000_000),
    "batch_delay_ms": (lambda value: 0 <= value <= 60_000, "milliseconds from 0 to 60000"),
    "response_timeout_s": (lambda value: 0 < value <= 3600, "seconds above 0, up to 3600"),
}
_OF_LOAD_REQUEST = {
    "batch_size": "batch_size",
    "max_batch_delay": "batch_delay_ms",
    "response_timeout": "response_timeout_s",
}
