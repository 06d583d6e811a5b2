"""Returns its process id, its folders and the request's headers."""

import json
import os
import tempfile
from pathlib import Path


def model_fn(model_dir):
    return model_dir


def transform_fn(model, body, content_type, accept, context):
    answer = {
        "pid": os.getpid(),
        "model_dir": model,
        "cwd": str(Path.cwd()),
        "temp_dir": tempfile.gettempdir(),
        "content_type": content_type,
        "accept": accept,
        "headers": context.get_all_request_header(0),
    }
    return json.dumps(answer), "application/json"
