"""Waits forever while loading."""

import signal


def model_fn(model_dir):
    signal.pause()


def predict_fn(data, model):
    return data
