"""Warm-up of the worker's own code: a zygote runs it with a no-op handler before it forks.

Python 3.11 and later write to bytecode while they specialize it, and to much else when it first runs. Done before the
fork, those memory pages stay shared by all workers. polyhost.handlers.warm_up does the same to the frameworks.
"""

import dataclasses
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from polyhost.container import log
from polyhost.container.config import Config
from polyhost.container.control_protocol import ForkRequest, ModelRef
from polyhost.container.worker import surroundings
from polyhost.container.worker.process import Worker
from polyhost.container.worker.protocol import (
    FrontEndConnection,
    LoadCommand,
    PredictCommand,
    encode_load,
    encode_predict,
)
from polyhost.container.worker.status_page import StatusPage
from polyhost.container.worker.types import Request

_MEMORY_BYTES = 1 << 40  # no limit, but set like one
ROUNDS = 12  # the interpreter specializes a function at its eighth call or so
_HANDLER = "polyhost.container.prefork.no_op:handle"
_HEADERS = {"Content-Type": "application/json", "Accept": "*/*", "X-Amzn-SageMaker-Target-Model": "a.tar.gz"}


def warm_up(config: Config) -> None:
    """Run the worker's code a few times."""
    with worker_exercise(config) as exercise:
        for _ in range(ROUNDS):
            surroundings.reseed()
            exercise()


@contextmanager
def worker_exercise(config: Config) -> Iterator[Callable[[], None]]:
    """Yield what lets a worker load a model and predict with it twice; nothing of that is logged."""
    folder = Path.cwd()
    with tempfile.TemporaryDirectory() as base, log.muted():
        model_dir = Path(base) / "models" / "none"
        model_dir.mkdir(parents=True)
        yield partial(_run_worker, model_dir, dataclasses.replace(config, base_dir=base, multi_model=True, store=None))
        os.chdir(folder)


def _run_worker(model_dir: Path, config: Config) -> None:
    folder = str(model_dir)
    request = ForkRequest(0, ModelRef("none", folder, _HANDLER), folder, folder, memory_bytes=_MEMORY_BYTES)
    load = LoadCommand("none", folder, 1, _HANDLER, None, "io")
    predict = PredictCommand([Request("id", _HEADERS, {"body": b"{}"})])
    page = StatusPage.create()
    front_end, worker = socket.socketpair()
    with front_end, worker:
        front_end.sendall(encode_load(load) + encode_predict(predict) + encode_predict(predict))
        front_end.shutdown(socket.SHUT_WR)
        status = StatusPage(page)
        Worker(request, FrontEndConnection(worker), status, config).run()
        status.close()
    for left in model_dir.iterdir():
        left.unlink()
    os.close(page)
