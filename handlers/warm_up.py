"""The warm-up of each framework: before it forks, a zygote loads a tiny model and predicts with it a few times.

A first call imports more, builds caches and lets Python specialise its bytecode (3.11 on). Done before the fork, no
worker has to do it again, and the memory pages that it writes to stay shared: a logistic regression's process has 4 MB
of its own instead of 8.

One thread only, for threads do not survive a fork: the environment that polyhost.handlers.frameworks names sees to it.

Each function returns a few load exercises, from which a zygote learns what any load writes to (container/prefork).
"""

import base64
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

from polyhost import events
from polyhost.handlers import service
from polyhost.handlers.base import Source
from polyhost.handlers.body import media_types
from polyhost.handlers.service import Service
from polyhost.handlers.settings import Settings

# Each opens a model's folder; what it yields loads the model and predicts once.
LoadExercises = tuple[Callable[[], AbstractContextManager[Callable[[], None]]], ...]

_ROUNDS = 12  # the interpreter specialises a function at its eighth call or so
# scores[n, 2] = data[n, 4] @ w, in ONNX's format 7 and operators 13: onnxruntime reads models and cannot write any.
_TINY_ONNX = (
    "CAc6ggEKGQoEZGF0YQoBdxIGc2NvcmVzIgZNYXRNdWwSBHRpbnkqKwgECAIQAUIBd0ogmERJPwORGz+n+4s+DTM0PRs09z68iYM9033YPf+i6j1a"
    "FwoEZGF0YRIPCg0IARIJCgMSAW4KAggEYhkKBnNjb3JlcxIPCg0IARIJCgMSAW4KAggCQgQKABAN"
)
_ROWS = numpy.arange(32, dtype=numpy.float64).reshape(8, 4) % 5


def sklearn() -> LoadExercises:
    """Warm up scikit-learn with a pipeline and a forest."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    targets = numpy.arange(8) % 2
    exercises: LoadExercises = ()
    for estimator in (
        make_pipeline(StandardScaler(), LogisticRegression()),
        RandomForestClassifier(n_estimators=3, random_state=0),
    ):
        estimator.fit(_ROWS, targets)
        exercises += _warm_up(partial(_dump, estimator), _rows())
    return exercises


def xgboost() -> LoadExercises:
    """Warm up XGBoost with a classifier of three trees, in either form of its files."""
    import xgboost as framework

    matrix = framework.DMatrix(_ROWS, numpy.arange(8) % 2, nthread=1)
    booster = framework.train({"objective": "binary:logistic", "max_depth": 2, "nthread": 1}, matrix, 3)
    exercises: LoadExercises = ()
    for name in ("model.ubj", "model.json"):
        exercises += _warm_up(partial(_save, booster, name), _rows())[:1]
    return exercises


def onnx() -> LoadExercises:
    """Warm up onnxruntime with a network of one layer."""
    return _warm_up(lambda folder: (folder / "model.onnx").write_bytes(base64.b64decode(_TINY_ONNX)), _rows())


def lightgbm() -> LoadExercises:
    """Warm up LightGBM with a classifier of three trees."""
    import lightgbm as framework

    params = {"objective": "binary", "num_threads": 1, "verbosity": -1, "min_data_in_leaf": 1, "min_data_in_bin": 1}
    booster = framework.train(params, framework.Dataset(_ROWS, numpy.arange(8) % 2, params={"verbosity": -1}), 3)
    return _warm_up(partial(_save, booster, "model.txt"), _rows())


def torch() -> LoadExercises:
    """Warm up PyTorch with a scripted network of linear layers."""
    import torch as framework

    network = framework.nn.Sequential(framework.nn.Linear(4, 3), framework.nn.ReLU(), framework.nn.Linear(3, 2))
    script = framework.jit.script(network)
    save: Callable[[str], None] = script.save
    return _warm_up(lambda folder: save(str(folder / "model.pt")), _rows())


def huggingface() -> LoadExercises:
    """Warm up transformers with an ELECTRA that classifies texts."""
    import tokenizers
    import transformers

    from polyhost.handlers.huggingface import loading

    loading.stay_offline()  # first: a bar of progress would start a thread
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: index for index, word in enumerate([*special, "a", "##b", "c"])}
    words = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token=special[1]))
    words.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=64, **names)
    config = transformers.ElectraConfig(
        vocab_size=len(vocabulary),
        embedding_size=8,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=64,
    )
    model = transformers.ElectraForSequenceClassification(config)

    def save(folder: Path) -> None:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    bodies = [{"inputs": "a ab c"}, {"inputs": ["a", "c ab"]}, {"inputs": "c", "parameters": {"top_k": 2}}]
    return _warm_up(save, [(json.dumps(body).encode(), media_types.JSON) for body in bodies])


def mxnet() -> LoadExercises:
    """Warm up MXNet with a convolutional network, and pictures."""
    import polyhost.handlers.mxnet.handler  # noqa: F401  # first: it makes MXNet importable

    import mxnet as framework  # isort: skip

    symbol = framework.sym
    hidden = symbol.Convolution(symbol.Variable("data"), kernel=(3, 3), num_filter=2, pad=(1, 1), name="conv")
    hidden = symbol.Pooling(symbol.Activation(hidden, act_type="relu"), kernel=(2, 2), pool_type="max")
    output = symbol.softmax(symbol.FullyConnected(symbol.flatten(hidden), num_hidden=6, name="dense"))
    shapes, _, _ = output.infer_shape(data=(1, 3, 8, 8))
    params = {
        f"arg:{name}": framework.nd.zeros(shape)
        for name, shape in zip(output.list_arguments(), shapes, strict=True)
        if name != "data"
    }

    def save(folder: Path) -> None:
        output.save(str(folder / "tiny-symbol.json"))
        framework.nd.save(str(folder / "tiny-0000.params"), params)
        (folder / "tiny-shapes.json").write_text(json.dumps([{"shape": [1, 3, 8, 8], "name": "data"}]))
        (folder / "synset.txt").write_text("\n".join(f"n{number} thing" for number in range(6)))

    return _warm_up(save, [(_picture("PNG"), media_types.IMAGE), (_picture("JPEG"), media_types.IMAGE)])


def _dump(estimator: Any, folder: Path) -> None:
    import joblib

    joblib.dump(estimator, folder / "model.joblib")


def _save(booster: Any, name: str, folder: Path) -> None:
    booster.save_model(str(folder / name))


def _warm_up(save: Callable[[Path], object], bodies: Sequence[tuple[bytes, str]]) -> LoadExercises:
    """Load what `save` writes, and predict for each body, a few times."""
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    with _load_exercise(files, bodies) as load_and_predict:
        for _ in range(_ROUNDS):
            load_and_predict()
    return tuple(partial(_load_exercise, files, [body]) for body in (bodies[0], bodies[-1]))


@contextmanager
def _load_exercise(files: Mapping[str, bytes], bodies: Sequence[tuple[bytes, str]]) -> Iterator[Callable[[], None]]:
    path = list(sys.path)  # loading puts the model's folder first
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        yield partial(_load_and_predict, Path(folder), bodies)
    sys.path[:] = path


def _load_and_predict(folder: Path, bodies: Sequence[tuple[bytes, str]]) -> None:
    """Do what a worker has done with a model: choose its handler by its files, load it, and call it for requests.

    What a load runs for the first time costs each worker memory pages and time. The settings are the defaults: with
    those of the container, it might be a script that is loaded here.
    """
    with events.discarded():
        serving = Service(service.load(Source(folder, settings=Settings(multi_model=True))))
        for body, content_type in bodies:
            for response in serving.handle([{"body": body}], _Context(content_type)) or ():
                if isinstance(response, Exception):
                    raise response


class _Context:
    """What is used of a context of Multi Model Server's."""

    def __init__(self, content_type: str) -> None:
        self._headers = {"Content-Type": content_type, "Accept": "*/*"}
        self._content_types: dict[int, str] = {}

    def get_all_request_header(self, index: int) -> Mapping[str, str]:
        return self._headers

    def set_response_content_type(self, index: int, value: str) -> None:
        self._content_types[index] = value


def _rows() -> list[tuple[bytes, str]]:
    buffer = io.BytesIO()
    numpy.save(buffer, _ROWS)
    rows = _ROWS.tolist()
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
