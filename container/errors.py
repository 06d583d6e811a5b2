"""The failures that a caller may see, with their HTTP statuses."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from polyhost.container.memory.oom import is_out_of_memory

EXIT_MODEL_FAILED = 3  # of the fork server: the only model of a single-model container cannot be loaded
INSUFFICIENT_STORAGE = 507  # SageMaker then unloads other models and retries

# Characters, each of up to 6 bytes in JSON. With an error of 200,000 bytes MMS resets the connection before they are
# read; the smallest limit of a response is 1 MB.
_MAX_TEXT = 10_000


class PolyhostError(Exception):
    """A failure with an HTTP status of its own; `type` is a field of the error's JSON."""

    status = 500

    @property
    def type(self) -> str:
        return type(self).__name__


class ConfigError(PolyhostError):
    """A setting that cannot be used; the message names it, its value and what it may be."""


class BadAnswerError(PolyhostError):
    """A handler returned something that cannot be a response to its requests."""


class ResponseTooLargeError(PolyhostError):
    """A response above the container's limit."""


class WorkerDiedError(PolyhostError):
    """The process that ran the model ended while a request waited for it."""

    def __init__(self, message: str, status: int = 500) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Failure:
    """What went wrong, as text: another process may not have the exception's class."""

    code: int
    type: str
    message: str
    model: str
    phase: str

    @classmethod
    def of(cls, error: BaseException, model: str, phase: str) -> "Failure":
        """Describe an exception; one that has a `type` or a `phase` knows better than its class or the caller."""
        name = type(error).__name__
        return cls(
            code=status_of(error),
            type=_text_of(error, "type") or name,
            message=_message_of(error) or name,
            model=model,
            phase=_text_of(error, "phase") or phase,
        )

    @classmethod
    def read(cls, fields: Any) -> "Failure | None":
        """Read fields that a model's code may have written; return None if they are not a failure."""
        match fields:
            case {
                "code": int(code),
                "type": str(type_),
                "message": str(message),
                "model": str(model),
                "phase": str(phase),
            }:
                return cls(code if 400 <= code <= 599 else 500, type_, message, model, phase)
        return None

    def shortened(self) -> "Failure":
        """Return it with texts that fit into a response: some libraries put the whole input into a message."""
        if len(self.message) + len(self.type) <= _MAX_TEXT:
            return self
        return replace(self, type=self.type[:_MAX_TEXT], message=f"{self.message[:_MAX_TEXT]}...")

    def to_json(self) -> bytes:
        # A file name that is not UTF-8 has lone surrogates in Python; as \udcXX they are JSON.
        return json.dumps(asdict(self), ensure_ascii=False).encode(errors="backslashreplace")


class ForkServerDiedError(Exception):
    """A load during which the fork server has died again and again; it is not tried once more."""


class LoadError(Exception):
    """A model that could not be loaded; its cause is what the handler raised."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.status = failure.code
        self.type = failure.type


# Attributes that hold an HTTP status: polyhost's, sagemaker_inference.errors', mms.service.PredictionException's.
_STATUS_ATTRIBUTES = ("status", "status_code", "error_code")


def _text_of(error: BaseException, attribute: str) -> str | None:
    """Return an attribute, or None if a library uses the name for something that is not text."""
    value = getattr(error, attribute, None)
    return value if isinstance(value, str) else None


def _message_of(error: BaseException) -> str:
    try:
        # str() of MMS's and the toolkit's errors repeats the status beside the message.
        message = getattr(error, "message", None) if _has_status(error) else None
        return str(error if message is None or callable(message) else message)
    except Exception:  # the model's own __str__
        return ""


def _has_status(error: BaseException) -> bool:
    return any(isinstance(getattr(error, attribute, None), int) for attribute in _STATUS_ATTRIBUTES)


def status_of(error: BaseException) -> int:
    """Return the HTTP status for an exception."""
    if is_out_of_memory(error):
        return INSUFFICIENT_STORAGE
    for attribute in _STATUS_ATTRIBUTES:
        status = getattr(error, attribute, None)
        if isinstance(status, int) and 400 <= status <= 599:
            return int(status)
    return 500
