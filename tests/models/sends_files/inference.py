"""Responds with a file or buffer of the kind that the body names, none of them rewound."""

import io
import tempfile


def model_fn(model_dir):
    return {
        "bytes": io.BytesIO,
        "text": io.StringIO,
        "file": tempfile.TemporaryFile,
        "named": tempfile.NamedTemporaryFile,
    }


def transform_fn(model, body, content_type, accept):
    if body == "view":
        return memoryview(b"whole")
    file = model[body]()
    file.write("whole" if body == "text" else b"whole")
    return file, "text/plain"
