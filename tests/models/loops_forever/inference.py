"""Takes a whole core at a request whose body is `loop`; returns other bodies."""


def model_fn(model_dir):
    return "a model"


def transform_fn(model, body, content_type, accept):
    while body == "loop":
        pass
    return body, content_type
