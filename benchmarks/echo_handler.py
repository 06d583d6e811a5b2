"""Responds with the model's name and the request's body, so that a misdirected response shows. For archives."""

from pathlib import Path
from typing import Any


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[bytes] | None:
    if data is None:
        return None
    name = Path(context.system_properties["model_dir"]).parent.name
    return [name.encode() + b" " + row["body"] for row in data]
