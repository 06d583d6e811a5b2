"""Its answer is nothing that JSON knows."""


def model_fn(model_dir):
    return "a model"


def predict_fn(data, model):
    return object()
