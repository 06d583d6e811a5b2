"""Keeps a core busy for as many seconds as the body says."""

import time


def model_fn(model_dir):
    return None


def transform_fn(model, body, content_type, accept):
    end = time.monotonic() + float(body)
    while time.monotonic() < end:
        pass
    return "done", "text/plain"
