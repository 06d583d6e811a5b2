"""Killed at a request whose body is `die`, as the kernel's out-of-memory killer would; returns other bodies."""

import os
import signal


def model_fn(model_dir):
    return "a model"


def transform_fn(model, body, content_type, accept):
    if body == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return body, content_type
