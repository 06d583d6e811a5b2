"""Calls sys.exit at a request whose body is `die`; returns other bodies."""

import sys


def model_fn(model_dir):
    return "a model"


def transform_fn(model, body, content_type, accept):
    if body == "die":
        sys.exit(5)
    return body, content_type
