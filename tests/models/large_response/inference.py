"""Returns as many bytes as the body says."""


def model_fn(model_dir):
    return "a model"


def transform_fn(model, body, content_type, accept):
    return b"x" * int(body), "application/octet-stream"
