"""Loads the first time only, and ends its process at a request whose body is `die`."""

import os
from pathlib import Path


def model_fn(model_dir):
    mark = Path(model_dir) / "loaded"
    if mark.exists():
        raise ValueError("it cannot be loaded a second time")
    mark.touch()
    return "a model"


def transform_fn(model, body, content_type, accept):
    if body == "die":
        os._exit(9)
    return body, content_type
