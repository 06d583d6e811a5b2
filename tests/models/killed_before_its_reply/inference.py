"""Loads, and is killed before the load's reply is made."""

import os
import signal
import sys


def end(frame, event, argument):
    if frame.f_code.co_name == "encode_load_reply":
        os.kill(os.getpid(), signal.SIGKILL)


def model_fn(model_dir):
    sys.setprofile(end)
    return "a model"


def transform_fn(model, body, content_type, accept):
    return body
