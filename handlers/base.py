"""The seam: what a framework's handler has to write, and the one way in which a request is answered."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polyhost.handlers import decoders, encoders, media_types
from polyhost.handlers.errors import BadModelError, BadSettingError, phase
from polyhost.handlers.payload import Inputs, Rows
from polyhost.handlers.settings import Settings


@dataclass(frozen=True)
class Source:
    """Where a model comes from. `context` is what a script's functions may ask for; nobody else looks at it."""

    directory: Path
    gpu_id: int | None = None
    settings: Settings = field(default_factory=Settings)
    context: Any = None


@dataclass(frozen=True)
class Request:
    body: bytes | bytearray
    content_type: str = ""
    accept: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    context: Any = None


@dataclass(frozen=True)
class Answer:
    body: bytes | str | Iterator[bytes | str]  # the last: in pieces
    content_type: str


class Handler(ABC):
    """One loaded model. `load` sets `model`; `predict` uses it."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.model: Any = None

    @abstractmethod
    def load(self, source: Source) -> None: ...

    def check_default_accept(self) -> None:
        """Whether the answer to a call without Accept is one of those that our encoders write."""
        if self.settings.default_accept not in media_types.ARRAYS:
            raise BadSettingError(
                f"SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT={self.settings.default_accept!r}: must be one of "
                f"{', '.join(media_types.ARRAYS)}, or a type that the output_fn of an inference.py writes"
            )

    def adopt(self, model: Any, name: str, source: Source) -> None:
        """Predict with a model that a script's model_fn made."""
        raise BadModelError(f"{name} gives a {type(model).__name__}; add a predict_fn that knows what to do with it.")

    @abstractmethod
    def predict(self, inputs: Inputs, request: Request) -> Any: ...

    def answer(self, request: Request) -> Answer:
        accept, inputs = self.read(request)
        with phase("predict"):
            prediction = self.predict(inputs, request)
        return self.write(prediction, inputs, accept)

    def answers(self, requests: Sequence[Request]) -> list[Answer | Exception]:
        """To each its answer, or the exception that it alone failed with."""
        return [self._answer_or_error(request) for request in requests]

    def _answer_or_error(self, request: Request) -> Answer | Exception:
        try:
            return self.answer(request)
        except Exception as error:
            return error

    def read(self, request: Request) -> tuple[str, Inputs]:
        """The answer's type, settled first so that an impossible wish costs no prediction, and what was sent."""
        accept = media_types.choose(request.accept, media_types.ARRAYS, self.settings.default_accept)
        with phase("decode"):
            return accept, decoders.decode(request.body, request.content_type)

    def write(self, prediction: Any, inputs: Inputs, accept: str) -> Answer:
        with phase("encode"):
            return Answer(encoders.encode(as_asked(prediction, inputs, accept), accept), accept)


def as_asked(prediction: Any, inputs: Inputs, accept: str) -> Any:
    """One object in, one object out; rows in, rows out."""
    if isinstance(inputs, Rows) and inputs.single and accept in (media_types.JSON, media_types.JSON_LINES):
        return {"prediction": _only_row(prediction)}
    return prediction


def _only_row(output: Any) -> Any:
    """The answer to one row: that of each output where there are several, and the whole of what has no rows."""
    match encoders.plain(output):
        case dict(outputs):
            return {name: _only_row(value) for name, value in outputs.items()}
        case [row]:
            return row
        case [*outputs]:
            return [_only_row(value) for value in outputs]
        case value:
            return value
