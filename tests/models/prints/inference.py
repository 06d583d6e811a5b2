"""Prints and logs in every way there is, while loading and while predicting."""

import logging
import os
import sys
import warnings

logger = logging.getLogger("my.model")


def say(where):
    print("printed", where)
    print("complained", where, file=sys.stderr)
    logger.info("logged %s", where)
    warnings.warn(f"warned {where}", stacklevel=1)
    os.write(1, f"native out {where}\n".encode())
    os.write(2, f"native err {where}\n".encode())
    print('{"looks": "like an event"}')
    print("two\nlines", where)


def model_fn(model_dir):
    say("in load")
    return "a model"


def transform_fn(model, body, content_type, accept):
    say("in predict")
    return body, content_type
