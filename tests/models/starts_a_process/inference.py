"""Starts a process, and returns its id."""

import subprocess


def model_fn(model_dir):
    return subprocess.Popen(["sleep", "1000"])


def transform_fn(model, body, content_type, accept):
    return str(model.pid), "text/plain"
