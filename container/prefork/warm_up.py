"""A zygote plays a worker through a few rounds, with a model that is none.

Python 3.11 writes to its bytecode while it specialises it, and to much else at a first time. Done before the fork,
those pages stay shared by all workers.
"""

import dataclasses
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from polyhost.container import log
from polyhost.container.config import Config
from polyhost.container.control_protocol import ForkRequest, ModelRef
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

_ROUNDS = 12
_HANDLER = "polyhost.container.prefork.warm_up:handle"
_HEADERS = {"Content-Type": "application/json", "Accept": "*/*", "X-Amzn-SageMaker-Target-Model": "a.tar.gz"}


def handle(data: Any, context: Any) -> Any:
    """The model that is none."""
    return None if data is None else ["{}" for _ in data]


def rehearse(config: Config) -> None:
    with staged(config) as play:
        for _ in range(_ROUNDS):
            play()


@contextmanager
def staged(config: Config) -> Iterator[Callable[[], None]]:
    """What plays one round. Nobody hears of it: the log goes nowhere meanwhile."""
    folder = Path.cwd()
    with tempfile.TemporaryDirectory() as base, log.muted():
        model_dir = Path(base) / "models" / "none"
        model_dir.mkdir(parents=True)
        yield partial(_play, model_dir, dataclasses.replace(config, base_dir=base, multi_model=True))
        os.chdir(folder)


def _play(model_dir: Path, config: Config) -> None:
    request = ForkRequest(0, ModelRef("none", str(model_dir), _HANDLER), str(model_dir), str(model_dir))
    load = LoadCommand("none", str(model_dir), 1, _HANDLER, None, "io")
    predict = PredictCommand([Request("id", _HEADERS, {"body": b"{}"})])
    page = StatusPage.create()
    front, back = socket.socketpair()
    with front, back:
        front.sendall(encode_load(load) + encode_predict(predict) + encode_predict(predict))
        front.shutdown(socket.SHUT_WR)
        status = StatusPage(page)
        Worker(request, FrontEndConnection(back), status, config).run()
        status.close()
    for left in model_dir.iterdir():
        left.unlink()
    os.close(page)
