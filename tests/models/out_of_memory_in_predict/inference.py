"""Asks for more memory than there is while predicting."""


def model_fn(model_dir):
    return "a model"


def transform_fn(model, body, content_type, accept):
    return bytes(bytearray(1 << 60)), accept
