"""A request's body as a pipeline is called: the contract of SageMaker's Hugging Face image.

JSON is `{"inputs": ..., "parameters": {...}}`, or the inputs alone; CSV has a header, of which `inputs` is the one
column that stands for the inputs themselves. With `"stream": true` the text is sent as it is made.
"""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from polyhost.handlers.base import HandlerRequest
from polyhost.handlers.body import decoders, images
from polyhost.handlers.body.media_types import CSV, IMAGE, JPEG, JSON, JSON_LINES, PNG, TEXT, MediaType
from polyhost.handlers.errors import BadBodyError, UnsupportedMediaTypeError

_IMAGES = (IMAGE, JPEG, PNG)
_ACCEPTED = (JSON, JSON_LINES, CSV, TEXT, *_IMAGES, "audio/*")
_IGNORED = frozenset({"options"})  # of Hugging Face's own API: whether to wait for a model
_MEMBERS = frozenset({"inputs", "parameters", "stream"}) | _IGNORED


@dataclass(frozen=True)
class PipelineCall:
    """What a pipeline is called with."""

    inputs: Any
    parameters: Mapping[str, Any] = field(default_factory=dict)
    stream: bool = False


def decode(request: HandlerRequest) -> PipelineCall:
    """Return the call that a request asks for. Raises BadBodyError and UnsupportedMediaTypeError."""
    media_type = MediaType.parse(request.content_type or JSON)
    if media_type.name == JSON:
        return _from_value(decoders.parsed(request.body, media_type))
    if media_type.name == JSON_LINES:
        return _joined([_from_value(line) for line in decoders.parsed(request.body, media_type)])
    if media_type.name == CSV:
        return PipelineCall(table(decoders.text(request.body, media_type)))
    if media_type.name == TEXT:
        return PipelineCall(decoders.text(request.body, media_type).removesuffix("\n").removesuffix("\r"))
    if media_type.name in _IMAGES:
        return PipelineCall(images.read(request.body).image.convert("RGB"))
    if media_type.name.startswith("audio/"):
        return PipelineCall(bytes(request.body))
    raise UnsupportedMediaTypeError(request.content_type, _ACCEPTED)


def table(text: str) -> list[Any]:
    """Return the rows of a CSV with a header as objects, or the values of its column "inputs"."""
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    if not rows:
        raise BadBodyError('the CSV needs a header, such as "inputs", and rows below it')
    return [row["inputs"] for row in rows] if "inputs" in rows[0] else rows


def _from_value(value: Any) -> PipelineCall:
    if not isinstance(value, dict):
        return PipelineCall(value)
    if "inputs" not in value:
        inputs = {name: item for name, item in value.items() if name not in _MEMBERS}
        if not inputs:
            raise BadBodyError('the body has no "inputs"; send {"inputs": ..., "parameters": {...}}')
    else:
        inputs = value["inputs"]
        if unknown := sorted(value.keys() - _MEMBERS):
            raise BadBodyError(
                f'beside "inputs" the body has {", ".join(map(repr, unknown))[:200]}; parameters of the model belong '
                'into "parameters": {"inputs": ..., "parameters": {...}}'
            )
    parameters, stream = value.get("parameters"), value.get("stream", False)
    if not isinstance(parameters, dict | None):
        raise BadBodyError(f'"parameters" must be an object of named arguments; given {parameters!r:.100}')
    if not isinstance(stream, bool):
        raise BadBodyError(f'"stream" must be true or false; given {stream!r:.100}')
    return PipelineCall(inputs, parameters or {}, stream)


def _joined(lines: list[PipelineCall]) -> PipelineCall:
    """Return one call for the lines of a body."""
    if not lines:
        raise BadBodyError("the body has no lines")
    if any(line.parameters != lines[0].parameters for line in lines):
        raise BadBodyError('the lines have different "parameters"; send one body for each')
    if any(line.stream for line in lines):
        raise BadBodyError('"stream" is for a body of one call in application/json')
    return PipelineCall([line.inputs for line in lines], lines[0].parameters)
