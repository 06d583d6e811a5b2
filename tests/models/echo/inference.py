"""Returns the body."""


def model_fn(model_dir):
    return "a model"


def transform_fn(model, body, content_type, accept):
    return body, content_type
