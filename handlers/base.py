"""The seam: what a framework's handler implements, and the one way in which a request is served."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polyhost.handlers.body import decoders, encoders, json_values, media_types
from polyhost.handlers.body.payload import ANYTHING, Inputs, Rows
from polyhost.handlers.errors import BadModelError, BadSettingError, phase
from polyhost.handlers.settings import Settings


@dataclass(frozen=True)
class Source:
    """Where a model comes from. `context` is MMS's, for the functions of a script; no handler looks at it."""

    directory: Path
    gpu_id: int | None = None
    settings: Settings = field(default_factory=Settings)
    context: Any = None


@dataclass(frozen=True)
class HandlerRequest:
    """One request. `options` are the pairs of its custom attributes, `context` is as in Source."""

    body: bytes | bytearray
    content_type: str = ""
    accept: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    context: Any = None


@dataclass(frozen=True)
class HandlerResponse:
    """One response; a body that is an iterator is sent in chunks. `status` and `headers`: where a script sets them."""

    body: bytes | str | Iterator[bytes | str]
    content_type: str
    status: int | None = None
    headers: Mapping[str, str] | None = None


class Handler(ABC):
    """One loaded model. `load` sets `model`; `predict` uses it."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.model: Any = None
        self.expected = ANYTHING  # what a load finds out about the model's inputs

    @abstractmethod
    def load(self, source: Source) -> None:
        """Read the model from its files. Raises BadModelError, which names the file and the remedy."""

    @abstractmethod
    def predict(self, inputs: Inputs, request: HandlerRequest) -> Any:
        """Return the prediction: rows for rows. Raises BadBodyError where the model cannot take the inputs."""

    def use_model(self, model: Any, origin: str, source: Source) -> None:
        """Predict with a model that a script's model_fn returned; `origin` names the function, for errors."""
        raise BadModelError(f"{origin} gives a {type(model).__name__}; add a predict_fn that takes it")

    def check_default_accept(self) -> None:
        """Raise BadSettingError if no encoder writes the media type of requests without Accept."""
        if self.settings.default_accept not in media_types.ARRAYS:
            raise BadSettingError(
                f"SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT={self.settings.default_accept!r}: must be one of "
                f"{', '.join(media_types.ARRAYS)}, or a type that the output_fn of an inference.py writes"
            )

    def respond(self, request: HandlerRequest) -> HandlerResponse:
        """Decode, predict, encode. What is raised on the way carries its phase."""
        accept, inputs = self.decode(request)
        with phase("predict"):
            prediction = self.predict(inputs, request)
        return self.encode(prediction, inputs, accept)

    def respond_all(self, requests: Sequence[HandlerRequest]) -> list[HandlerResponse | Exception]:
        """Return the response to each request, or the exception that it alone failed with."""
        return [self._response_or_error(request) for request in requests]

    def decode(self, request: HandlerRequest) -> tuple[str, Inputs]:
        """Return the response's media type, and the request's inputs.

        `Accept` is negotiated first, so that a 406 costs no prediction.
        """
        accept = media_types.choose(request.accept, media_types.ARRAYS, self.settings.default_accept)
        with phase("decode"):
            return accept, decoders.decode(request.body, request.content_type, self.expected)

    def encode(self, prediction: Any, inputs: Inputs, accept: str) -> HandlerResponse:
        with phase("encode"):
            return HandlerResponse(encoders.encode(in_form_of_request(prediction, inputs, accept), accept), accept)

    def _response_or_error(self, request: HandlerRequest) -> HandlerResponse | Exception:
        try:
            return self.respond(request)
        except Exception as error:
            return error


def in_form_of_request(prediction: Any, inputs: Inputs, accept: str) -> Any:
    """Return rows for rows, and for one JSON object one object."""
    if isinstance(inputs, Rows) and inputs.single and accept in (media_types.JSON, media_types.JSON_LINES):
        return {"prediction": _only_row(prediction)}
    return prediction


def _only_row(output: Any) -> Any:
    """Return the only row, for several outputs that of each; return an output without rows unchanged."""
    match json_values.plain(output):
        case dict(outputs):
            return {name: _only_row(value) for name, value in outputs.items()}
        case [row]:
            return row
        case [*outputs]:
            return [_only_row(value) for value in outputs]
        case value:
            return value
