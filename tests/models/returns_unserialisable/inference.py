"""Predicts an object that JSON cannot represent."""


def model_fn(model_dir):
    return "a model"


def predict_fn(data, model):
    return object()
