"""What a pipeline returns, as the body of a response: pictures as base64, and objects as lines of a table."""

import base64
import io
import json
from typing import Any

from PIL import Image

from polyhost.handlers.body import encoders
from polyhost.handlers.body.media_types import CSV


def encode(prediction: Any, media_type: str) -> bytes:
    """Encode a prediction. CSV has a header with the objects' names, as SageMaker's Hugging Face image writes it."""
    prediction = _plain(prediction)
    if media_type == CSV and (rows := _rows(prediction)):
        return encoders.encode([list(rows[0]), *(list(row.values()) for row in rows)], media_type)
    return encoders.encode(prediction, media_type)


def parameters_key(parameters: Any) -> str:
    """Return a text that is the same for the same parameters."""
    return json.dumps(parameters, sort_keys=True)


def _plain(value: Any) -> Any:
    match value:
        case Image.Image():
            stream = io.BytesIO()
            value.save(stream, "PNG")
            return base64.b64encode(stream.getvalue()).decode()
        case dict():
            return {name: _plain(item) for name, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
    return value


def _rows(prediction: Any) -> list[dict[str, Any]] | None:
    """Return objects with the same names, one or a list of them; None if the prediction is anything else."""
    rows = prediction if isinstance(prediction, list) else [prediction]
    alike = bool(rows) and all(isinstance(row, dict) and row.keys() == rows[0].keys() for row in rows)
    return rows if alike else None
