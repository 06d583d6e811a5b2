"""What a zygote does after its imports: a tiny model of the framework, loaded and asked a few times.

A first call imports more, builds caches and lets Python 3.11 specialise its bytecode. Done before the fork, no model
has to do it again, and the pages that it writes stay shared: a logistic regression's process owns 4 MB instead of 8.
Each function returns a few others that stage a load and a call each: a zygote learns from them what any load writes to.
One thread only, which OMP_NUM_THREADS=1 and MXNet's NaiveEngine see to, for threads do not survive a fork.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy
from PIL import Image

from polyhost.handlers import media_types
from polyhost.handlers.base import Handler, Request, Source

ROUNDS = 12  # the interpreter specialises a function at its eighth call or so
Replays = tuple[Callable[[], AbstractContextManager[Callable[[], None]]], ...]
ROWS = numpy.arange(32, dtype=numpy.float64).reshape(8, 4) % 5


def sklearn() -> Replays:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from polyhost.handlers.sklearn_handler import SklearnHandler

    targets = numpy.arange(8) % 2
    replays: Replays = ()
    for estimator in (
        make_pipeline(StandardScaler(), LogisticRegression()),
        RandomForestClassifier(n_estimators=3, random_state=0),
    ):
        estimator.fit(ROWS, targets)
        save = partial(_dump, estimator)
        replays += _exercise(SklearnHandler, save, _rows())
    return replays


def _dump(estimator: Any, folder: Path) -> None:
    import joblib

    joblib.dump(estimator, folder / "model.joblib")


def torch() -> Replays:
    import torch as framework

    from polyhost.handlers.torch_handler import TorchHandler

    network = framework.nn.Sequential(framework.nn.Linear(4, 3), framework.nn.ReLU(), framework.nn.Linear(3, 2))
    script = framework.jit.script(network)
    save: Callable[[str], None] = script.save
    return _exercise(TorchHandler, lambda folder: save(str(folder / "model.pt")), _rows())


def mxnet() -> Replays:
    from polyhost.handlers.mxnet_handler import MxnetHandler  # first: it makes MXNet importable

    import mxnet as framework  # isort: skip

    symbol = framework.sym
    hidden = symbol.Convolution(symbol.Variable("data"), kernel=(3, 3), num_filter=2, pad=(1, 1), name="conv")
    hidden = symbol.Pooling(symbol.Activation(hidden, act_type="relu"), kernel=(2, 2), pool_type="max")
    answer = symbol.softmax(symbol.FullyConnected(symbol.flatten(hidden), num_hidden=6, name="dense"))
    shapes, _, _ = answer.infer_shape(data=(1, 3, 8, 8))
    params = {
        f"arg:{name}": framework.nd.zeros(shape)
        for name, shape in zip(answer.list_arguments(), shapes, strict=True)
        if name != "data"
    }

    def save(folder: Path) -> None:
        answer.save(str(folder / "tiny-symbol.json"))
        framework.nd.save(str(folder / "tiny-0000.params"), params)
        (folder / "tiny-shapes.json").write_text(json.dumps([{"shape": [1, 3, 8, 8], "name": "data"}]))
        (folder / "synset.txt").write_text("\n".join(f"n{number} thing" for number in range(6)))

    return _exercise(MxnetHandler, save, [(_picture("PNG"), media_types.IMAGE), (_picture("JPEG"), media_types.IMAGE)])


def _exercise(
    kind: type[Handler], save: Callable[[Path], object], bodies: Sequence[tuple[bytes, str]], rounds: int = ROUNDS
) -> Replays:
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    with _staged(kind, files, bodies) as play:
        for _ in range(rounds):
            play()
    return tuple(partial(_staged, kind, files, [body]) for body in (bodies[0], bodies[-1]))


@contextmanager
def _staged(
    kind: type[Handler], files: Mapping[str, bytes], bodies: Sequence[tuple[bytes, str]]
) -> Iterator[Callable[[], None]]:
    path = list(sys.path)  # loading puts the model's folder first
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        yield partial(_play, kind, Path(folder), bodies)
    sys.path[:] = path


def _play(kind: type[Handler], folder: Path, bodies: Sequence[tuple[bytes, str]]) -> None:
    """A load, and a call for each body."""
    handler = kind()
    handler.load(Source(folder))
    for body, content_type in bodies:
        handler.answer(Request(body, content_type))


def _rows() -> list[tuple[bytes, str]]:
    buffer = io.BytesIO()
    numpy.save(buffer, ROWS)
    rows = ROWS.tolist()
    return [
        (json.dumps(rows).encode(), media_types.JSON),
        (json.dumps({"instances": rows}).encode(), media_types.JSON),
        ("\n".join(",".join(map(str, row)) for row in rows).encode(), media_types.CSV),
        (buffer.getvalue(), media_types.NPY),
    ]


def _picture(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (12, 10), (200, 100, 50)).save(buffer, form)
    return buffer.getvalue()
