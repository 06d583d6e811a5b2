"""Loads, and ends before the load's reply is made."""

import os
import sys


def end(frame, event, argument):
    if frame.f_code.co_name == "_log_timeline":
        os._exit(3)


def model_fn(model_dir):
    sys.setprofile(end)
    return "a model"


def transform_fn(model, body, content_type, accept):
    return body
