"""Reads address 0 at a request whose body is `die`; returns other bodies."""

import ctypes


def model_fn(model_dir):
    return "a model"


def transform_fn(model, body, content_type, accept):
    if body == "die":
        ctypes.string_at(0)
    return body, content_type
