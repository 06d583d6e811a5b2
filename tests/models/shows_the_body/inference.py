"""Returns what a script's input_fn is given, as JSON."""

import json


def model_fn(model_dir):
    return "a model"


def input_fn(body, content_type):
    return {"body": body.decode() if isinstance(body, bytes) else body, "type": content_type.partition(";")[0]}


def predict_fn(data, model):
    return data


def output_fn(prediction, accept):
    return json.dumps(prediction), "application/json"
