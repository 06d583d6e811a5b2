"""Loads once a file `load` is beside it, and responds to `wait` once a file `answer` is; shows its state by files."""

import time
from pathlib import Path


def wait_for(folder, name):
    (folder / f"waits-for-{name}").touch()
    while not (folder / name).exists():
        time.sleep(0.01)


def model_fn(model_dir):
    folder = Path(model_dir)
    wait_for(folder, "load")
    return folder


def transform_fn(model, body, content_type, accept):
    if body == "wait":
        wait_for(model, "answer")
    return body, content_type
