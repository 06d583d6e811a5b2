"""How one model wants to be served: its archive's polyhost.json, else the container's settings."""

import json
import reprlib
import stat
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from polyhost.container.config import Config
from polyhost.container.native.errors import bad_request

FILE = "polyhost.json"
_MAX_BYTES = 1 << 16


@dataclass(frozen=True)
class ServingSettings:
    """`batch_delay_ms`: how long a call may wait for others to go with it. `queue_size`: calls that may wait."""

    batch_size: int
    batch_delay_ms: float
    queue_size: int
    response_timeout_s: float

    @classmethod
    def of(cls, config: Config) -> "ServingSettings":
        return cls(config.batch_size, config.batch_delay_ms, config.queue_size, config.response_timeout_s)

    def of_archive(self, directory: Path, model: str) -> "ServingSettings":
        """Raises Refusal, naming the file, the key, its value and what it may be."""
        path = directory / FILE
        try:
            if not path.resolve().is_relative_to(directory.resolve()):
                raise bad_request(f"{FILE} is a link out of the model's folder", model, "load")
            if not stat.S_ISREG(path.stat().st_mode):  # who reads a FIFO waits for a writer
                raise bad_request(f"{FILE} is no file", model, "load")
            with path.open("rb") as file:
                content = file.read(_MAX_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            return self
        except (OSError, RuntimeError) as error:  # the second for links in a circle
            raise bad_request(f"{FILE} cannot be read: {error}", model, "load") from None
        if len(content) > _MAX_BYTES:
            raise bad_request(f"{FILE} has more than {_MAX_BYTES} bytes", model, "load")
        try:
            wishes = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise bad_request(f"{FILE} is not JSON: {error}", model, "load") from None
        if not isinstance(wishes, dict):
            raise bad_request(f"{FILE} holds a {type(wishes).__name__}; it must hold an object", model, "load")
        for key, value in wishes.items():
            _check(key, value, model)
        return replace(self, **wishes)


def _check(key: str, value: Any, model: str) -> None:
    known = [field.name for field in fields(ServingSettings)]
    if key not in known:
        raise bad_request(f"{FILE}: {reprlib.repr(key)} is unknown; it may have {', '.join(known)}", model, "load")
    fits, meaning = _RULES[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not fits(value):
        raise bad_request(f"{FILE}: {key} is {reprlib.repr(value)}; it must be {meaning}", model, "load")


def _up_to(most: int) -> tuple[Callable[[float], bool], str]:
    return lambda value: isinstance(value, int) and 1 <= value <= most, f"a whole number from 1 to {most}"


_RULES: dict[str, tuple[Callable[[float], bool], str]] = {
    "batch_size": _up_to(10_000),
    "queue_size": _up_to(1_000_000),
    "batch_delay_ms": (lambda value: 0 <= value <= 60_000, "milliseconds from 0 to 60000"),
    "response_timeout_s": (lambda value: 0 < value <= 3600, "seconds above 0, up to 3600"),
}
