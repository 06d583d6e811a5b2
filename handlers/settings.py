"""The only reader of the environment in this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from polyhost.handlers.errors import BadModelError
from polyhost.handlers.media_types import MediaType

DEFAULT_PROGRAM = "inference.py"
DEFAULT_ACCEPT = "application/json"


@dataclass(frozen=True)
class Settings:
    program: str = DEFAULT_PROGRAM
    default_accept: str = DEFAULT_ACCEPT

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        return cls(
            program=_program(environ.get("SAGEMAKER_PROGRAM") or DEFAULT_PROGRAM),
            default_accept=MediaType.parse(environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT") or DEFAULT_ACCEPT).name,
        )


def _program(value: str) -> str:
    path = PurePosixPath(value)
    if path.suffix != ".py" or path.is_absolute() or ".." in path.parts:
        raise BadModelError(
            f"SAGEMAKER_PROGRAM is {value!r}; it must name a Python file of the archive, such as {DEFAULT_PROGRAM!r}."
        )
    return value
