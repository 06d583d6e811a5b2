"""Killed while loading, as the kernel's out-of-memory killer would."""

import os
import signal


def model_fn(model_dir):
    os.kill(os.getpid(), signal.SIGKILL)


def predict_fn(data, model):
    return data
