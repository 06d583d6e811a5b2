"""What can go wrong in a handler. An error knows its HTTP status and its phase; its text is the answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


class HandlerError(Exception):
    status = 500
    phase = "predict"


class BadModelError(HandlerError):
    """The model's files cannot be served as they are."""

    status = 400
    phase = "load"


class BadBodyError(HandlerError):
    """The request's body cannot be read, or the model cannot take what it holds."""

    status = 400
    phase = "decode"


class WrongShapeError(BadBodyError):
    def __init__(self, expected: object, given: object) -> None:
        super().__init__(f"Wrong shape: expected {expected}, given {given}.")


class UnsupportedMediaTypeError(HandlerError):
    status = 415
    phase = "decode"

    def __init__(self, given: str, accepted: Iterable[str]) -> None:
        super().__init__(f"Content-Type {given!r} is not supported; accepted: {', '.join(accepted)}.")


class UnsuitableMediaTypeError(HandlerError):
    """A type we can read, holding something this model has no use for, such as an image for two numbers."""

    status = 415
    phase = "decode"


class NotAcceptableError(HandlerError):
    status = 406
    phase = "encode"


class BadScriptError(BadModelError):
    """The archive's own script cannot be used."""


class WrongLabelsError(HandlerError):
    """The labels do not fit what the model answers."""


class WrongAnswerError(HandlerError):
    """The model, or a script's function, returned what cannot be sent."""

    phase = "encode"


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Mark whatever is raised inside with the phase it was raised in."""
    try:
        yield
    except Exception as error:
        mark(error, name)
        raise


def mark(error: Any, name: str) -> None:
    if not hasattr(error, "phase"):
        error.phase = name
