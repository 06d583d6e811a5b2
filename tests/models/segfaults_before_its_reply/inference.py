"""Loads, and crashes when the load's reply is about to be sent."""

import ctypes
import sys


def end(frame, event, argument):
    if frame.f_code.co_name == "send":
        ctypes.string_at(8)


def model_fn(model_dir):
    sys.setprofile(end)
    return "a model"


def transform_fn(model, body, content_type, accept):
    return body
