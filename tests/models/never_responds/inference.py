"""Waits forever at a request whose body is `wait`; returns other bodies."""

import signal


def model_fn(model_dir):
    return "a model"


def transform_fn(model, body, content_type, accept):
    if body == "wait":
        signal.pause()
    return body, content_type
