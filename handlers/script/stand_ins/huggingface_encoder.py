"""In place of `sagemaker_huggingface_inference_toolkit.decoder_encoder`."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

from polyhost.handlers.body import encoders as _encoders
from polyhost.handlers.body.media_types import CSV as _CSV
from polyhost.handlers.body.media_types import JSON as _JSON
from polyhost.handlers.body.media_types import MediaType as _MediaType
from polyhost.handlers.errors import BadBodyError as _BadBodyError
from polyhost.handlers.script.stand_ins.errors import UnsupportedFormatError

_CSV_COLUMNS = ("question", "context", "inputs")


def decode_json(content: str | bytes) -> Any:
    return json.loads(content)


def decode_csv(string_like: str | bytes) -> dict[str, Any]:
    """Return the column `inputs`, or all columns if there is no such column. Raises BadBodyError without a header."""
    text = string_like.decode() if isinstance(string_like, bytes | bytearray) else string_like
    header = text.partition("\n")[0].lower()
    if not any(name in header for name in _CSV_COLUMNS):
        raise _BadBodyError(f"the first line of CSV must be a header with one of {', '.join(_CSV_COLUMNS)}")
    rows = list(csv.DictReader(io.StringIO(text)))
    return {"inputs": [row["inputs"] for row in rows] if rows and "inputs" in rows[0] else rows}


def encode_json(content: Any) -> str:
    return _encoders.encode(content, _JSON).decode()


def encode_csv(content: list[dict[str, Any]]) -> str:
    """Return objects as lines below a header of their names."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(content[0]) if content else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(content)
    return stream.getvalue()


_DECODERS: dict[str, Callable[[Any], Any]] = {_JSON: decode_json, _CSV: decode_csv}
_ENCODERS: dict[str, Callable[[Any], Any]] = {_JSON: encode_json, _CSV: encode_csv}


def decode(content: Any, content_type: str = _JSON) -> Any:
    """Return what a body holds. Raises UnsupportedFormatError."""
    decoder = _DECODERS.get(_MediaType.parse(content_type).name)
    if decoder is None:
        raise UnsupportedFormatError(content_type)
    return decoder(content)


def encode(content: Any, content_type: str = _JSON) -> Any:
    """Return a body that holds the content. Raises UnsupportedFormatError."""
    encoder = _ENCODERS.get(_MediaType.parse(content_type).name)
    if encoder is None:
        raise UnsupportedFormatError(content_type)
    return encoder(content)
