"""Ends its process at every request, until a file named `well` is beside it."""

import os
from pathlib import Path


def model_fn(model_dir):
    return Path(model_dir)


def transform_fn(model, body, content_type, accept):
    if not (model / "well").exists():
        os._exit(9)
    return body, content_type
