"""Prints long lines, from Python and from native code, as many as the body says."""

import os

LINE = "long " * 4000


def model_fn(model_dir):
    return "a model"


def transform_fn(model, body, content_type, accept):
    for _ in range(int(body)):
        print(LINE)
        os.write(1, LINE.encode() + b"\n")
    return body, content_type
