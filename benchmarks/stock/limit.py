"""The lower limit of a cold model: load and first invocation in one warm process, without any server.

    python limit.py HANDLER BODY_FILE FOLDER...

Prints, as JSON, the milliseconds of the load and of load and first invocation together, for each folder but the first,
which warms up what a framework does once per process.
"""

import importlib
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def first_invocation(handler_class: Any, body: bytes, folder: str) -> tuple[float, float]:
    context = SimpleNamespace(system_properties={"model_dir": folder, "gpu_id": None})
    handler = handler_class()
    start = time.perf_counter()
    handler.initialize(context)
    loaded = time.perf_counter()
    handler.handle([{"body": bytearray(body)}], context)
    return (loaded - start) * 1000, (time.perf_counter() - start) * 1000


def main(handler: str, body_file: str, *folders: str) -> None:
    handler_class = importlib.import_module(handler).ModelHandler
    body = Path(body_file).read_bytes()
    _, *samples = [first_invocation(handler_class, body, folder) for folder in folders]
    json.dump(samples, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
