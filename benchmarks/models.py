"""The models that are measured and their request bodies, made by `python -m benchmarks.models FOLDER [NAME...]`."""

import importlib
import io
import itertools
import json
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLASSES = 1000
IMAGE = (1, 3, 224, 224)
_numbers = itertools.count()


@dataclass(frozen=True)
class Kind:
    """One model. `make` fills its folder; `body` makes the request body, which is always the same."""

    name: str
    framework: str
    content_type: str
    make: Callable[[Path], None]
    body: Callable[[], bytes]


@dataclass(frozen=True)
class Shelf:
    """The folder of the models that were made: NAME/ and NAME.body of each kind."""

    folder: Path

    def model(self, kind: Kind) -> Path:
        return self.folder / kind.name

    def body(self, kind: Kind) -> Path:
        return self.folder / f"{kind.name}.body"

    def fill(self, kinds: Iterator[Kind]) -> None:
        for kind in kinds:
            if not self.body(kind).exists():
                shutil.rmtree(self.model(kind), ignore_errors=True)
                self.model(kind).mkdir(parents=True)
                kind.make(self.model(kind))
                self.body(kind).write_bytes(kind.body())  # last: it marks the model as complete


@dataclass(frozen=True)
class Copy:
    """A copy of a model that no server has seen, in the folder where the platform would have unpacked it."""

    name: str
    kind: Kind
    folder: Path

    def remove(self) -> None:
        shutil.rmtree(self.folder.parent)


def copies(shelf: Shelf, kind: Kind, models_dir: Path, count: int) -> list[Copy]:
    """Make copies, before the clock starts."""
    return [_copy(shelf, kind, models_dir) for _ in range(count)]


def _copy(shelf: Shelf, kind: Kind, models_dir: Path) -> Copy:
    name = f"{kind.name}{next(_numbers):06d}"
    folder = models_dir / name / "model"
    shutil.copytree(shelf.model(kind), folder)
    return Copy(name, kind, folder)


# Making the models. Frameworks are imported only here, in a process that ends before anything is measured.


def _nothing(folder: Path) -> None:
    """Make a model that is only a handler; MMS rejects a manifest without a name and a runtime."""
    shutil.copy(Path(__file__).parent / "stock" / "bare_handler.py", folder / "model_handler.py")
    model = {"modelName": "empty", "handler": "model_handler.py:handle"}
    (folder / "MAR-INF").mkdir()
    (folder / "MAR-INF" / "MANIFEST.json").write_text(json.dumps({"runtime": "python", "model": model}))


def _logistic_regression(folder: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    _fit(LogisticRegression(max_iter=2000), folder)


def _forest(folder: Path) -> None:
    from sklearn.ensemble import RandomForestClassifier

    _fit(RandomForestClassifier(n_estimators=100, random_state=0), folder)


def _fit(estimator: Any, folder: Path) -> None:
    import joblib
    from sklearn.datasets import load_digits

    joblib.dump(estimator.fit(*load_digits(return_X_y=True)), folder / "model.joblib")


def _mlp(folder: Path) -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(network).save(str(folder / "model.pt"))  # type: ignore[no-untyped-call]


def _gluon(network: str) -> Callable[[Path], None]:
    """Return a maker of a network of Gluon's model zoo with random weights, which cost as much as trained ones."""

    def make(folder: Path) -> None:
        importlib.import_module("polyhost.handlers.mxnet.handler")  # makes MXNet importable with this numpy
        import mxnet as mx

        mx.random.seed(0)
        model = getattr(mx.gluon.model_zoo.vision, network)(classes=CLASSES)
        model.initialize(mx.init.Xavier())
        model.hybridize()
        model(mx.nd.zeros(IMAGE))
        model.export(str(folder / network))
        (folder / f"{network}-shapes.json").write_text(json.dumps([{"name": "data", "shape": IMAGE}]))
        (folder / "synset.txt").write_text("".join(f"n{index:08d} class {index}\n" for index in range(CLASSES)))

    return make


def digit() -> bytes:
    from sklearn.datasets import load_digits

    return json.dumps(load_digits().data[:1].tolist()).encode()


def jpeg() -> bytes:
    """Return an image of the network's input size, with as much detail as a photograph."""
    import numpy as np
    from PIL import Image

    height, width = IMAGE[2:]
    noise = np.random.default_rng(0).integers(0, 64, (height, width, 3))
    slope = np.linspace(0, 191, width)[None, :, None]
    stream = io.BytesIO()
    Image.fromarray((noise + slope).astype(np.uint8)).save(stream, "JPEG", quality=85)
    return stream.getvalue()


_KINDS = (
    Kind("empty", "bare", "application/json", _nothing, lambda: b"{}"),
    Kind("lr", "sklearn", "application/json", _logistic_regression, digit),
    Kind("rf", "sklearn", "application/json", _forest, digit),
    Kind("mlp", "torch", "application/json", _mlp, digit),
    Kind("squeezenet", "mxnet", "image/jpeg", _gluon("squeezenet1_0"), jpeg),
    Kind("resnet18", "mxnet", "image/jpeg", _gluon("resnet18_v1"), jpeg),
)
KINDS = {kind.name: kind for kind in _KINDS}


if __name__ == "__main__":
    Shelf(Path(sys.argv[1])).fill(KINDS[name] for name in sys.argv[2:] or KINDS)
