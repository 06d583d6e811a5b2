"""Raises at every request."""


def model_fn(model_dir):
    return "a model"


def transform_fn(model, body, content_type, accept):
    raise ValueError("this body makes no sense")
