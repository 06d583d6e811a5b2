import datetime
import decimal
import json
import pickle

import numpy
from sagemaker_containers.beta.framework import encoders, worker


class Model:
    pass


def model_fn(model_dir):
    return pickle.loads(b"c__main__\nModel\n.")


def predict_fn(data, model):
    return {numpy.int64(1): datetime.date(2024, 2, 29), model.__name__: decimal.Decimal("0.5")}


def output_fn(prediction, accept):
    if accept.startswith("text/csv"):
        raise encoders.UnsupportedFormatError(accept)
    if accept.startswith("application/json"):
        return prediction
    return worker.Response(json.dumps(accept), status=202, headers={"X-Written-By": "worker"}, mimetype=accept)
