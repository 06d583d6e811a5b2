"""Responds with what its predict_fn was given, and the type of that; in batches with the native front end."""


def model_fn(model_dir):
    return None


def predict_fn(data, model):
    return [type(data).__name__, data]
