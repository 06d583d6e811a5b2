"""Ends its process while loading."""

import os


def model_fn(model_dir):
    os._exit(3)


def predict_fn(data, model):
    return data
