"""What can go wrong in a handler. All derive from HandlerError, which has an HTTP status and a phase.

The class's name is the `type` of the error's JSON, and its text the `message`.
"""

from collections.abc import Iterable
from types import TracebackType
from typing import Any


class HandlerError(Exception):
    """The base of the errors below; `phase` is load, decode, predict or encode."""

    status = 500
    phase = "predict"


class BadModelError(HandlerError):
    """The model's files cannot be served as they are."""

    status = 400
    phase = "load"


class BadSettingError(BadModelError):
    """A variable of the environment has a value that cannot be used."""


class HandlerNotFoundError(BadModelError):
    """The handler that the model or a setting names cannot be found, or is no handler."""


class BadScriptError(BadModelError):
    """The archive's own script cannot be used."""


class BadBodyError(HandlerError):
    """The request's body cannot be read, or the model cannot take what it holds."""

    status = 400
    phase = "decode"


class WrongShapeError(BadBodyError):
    """The body holds an array of another shape than the model takes."""

    def __init__(self, expected: object, given: object) -> None:
        super().__init__(f"wrong shape: expected {expected}, given {given}")


class TooManyValuesError(BadBodyError):
    """The body holds more values than may be made of it."""

    status = 413


class UnsupportedMediaTypeError(HandlerError):
    """There is no decoder for the request's Content-Type."""

    status = 415
    phase = "decode"

    def __init__(self, given: str, accepted: Iterable[str], hint: str = "") -> None:
        hint = f" ({hint})" if hint else ""
        super().__init__(f"Content-Type {given!r} is not supported{hint}; accepted: {', '.join(accepted)}")


class UnsuitableMediaTypeError(HandlerError):
    """The body can be decoded, but the model cannot take what it holds, such as an image for two numbers."""

    status = 415
    phase = "decode"


class NotAcceptableError(HandlerError):
    """The request's Accept header names no media type that the prediction can be written as."""

    status = 406
    phase = "encode"


class WrongLabelsError(HandlerError):
    """The labels do not fit the model's output."""


class WrongAnswerError(HandlerError):
    """The model, or a script's function, returned what cannot be sent."""

    phase = "encode"


class RequestPhase:
    """What `phase` returns. A class takes two fifths of the time of a generator, and a request enters three."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            mark(error, self._name)
            _give_status(error, self._name)


def phase(name: str) -> RequestPhase:
    """Mark whatever is raised inside of the block with the phase in which it was raised."""
    return RequestPhase(name)


def mark(error: Any, name: str) -> None:
    """Give the error this phase, unless it has one."""
    if not hasattr(error, "phase"):
        error.phase = name


def _give_status(error: Any, phase: str) -> None:
    """Give SageMaker's error for a media type, of whichever package, the status that its meaning depends on."""
    if type(error).__name__ == "UnsupportedFormatError" and not hasattr(error, "status"):
        error.status = NotAcceptableError.status if phase == "encode" else UnsupportedMediaTypeError.status
