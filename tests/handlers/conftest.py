import importlib.util
import json
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

from tests.handlers.served import Served

Archive = Callable[..., Path]


@pytest.fixture(autouse=True)
def own_imports(tmp_path: Path) -> Iterator[None]:
    """Keep a model's modules out of the next test; in the container each model has a process of its own."""
    path, modules = list(sys.path), dict(sys.modules)
    yield
    sys.path[:] = path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
    sys.modules.update({name: module for name, module in modules.items() if name not in sys.modules})


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """Make a model's folder: `archive(**{"code/inference.py": source})`, on top of another folder's files."""

    def make(base: Path | None = None, /, **files: Any) -> Path:
        folder = tmp_path / "model"
        for path in base.iterdir() if base else ():
            _write(folder / path.name, path.read_bytes())
        for name, content in files.items():
            _write(folder / name, content)
        folder.mkdir(exist_ok=True)
        return folder

    return make


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else str(content).encode())


@pytest.fixture(scope="session")
def digits() -> tuple[Any, Any]:
    """Handwritten digits as images of 8 x 8 grey pixels, 0 to 255, and what they show."""
    pytest.importorskip("sklearn")
    from sklearn.datasets import load_digits

    data = load_digits()
    return (data.images * 15.9375).astype(numpy.uint8), data.target


@pytest.fixture(scope="session")
def digits_forest(tmp_path_factory: pytest.TempPathFactory, digits: tuple[Any, Any]) -> Path:
    from sklearn.ensemble import RandomForestClassifier

    images, targets = digits
    forest = RandomForestClassifier(n_estimators=20, random_state=0).fit(images.reshape(-1, 64), targets)
    return _dumped(tmp_path_factory, "model.joblib", forest)


@pytest.fixture(scope="session")
def moons_forest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fit a forest of five trees for two features, written with pickle."""
    pytest.importorskip("sklearn")
    from sklearn.datasets import make_moons
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import train_test_split

    points, labels = make_moons(n_samples=100, noise=0.25, random_state=3)
    train, _, train_labels, _ = train_test_split(points, labels, stratify=labels, random_state=42)
    folder = tmp_path_factory.mktemp("moons")
    with (folder / "pickled_rf_model.p").open("wb") as file:
        pickle.dump(RandomForestClassifier(n_estimators=5, random_state=0).fit(train, train_labels), file)
    return folder


@pytest.fixture(scope="session")
def named_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fitted on a table with names: one column of words, one of numbers."""
    pytest.importorskip("sklearn")
    import pandas
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    table = pandas.DataFrame({"colour": ["red", "blue", "red", "blue"] * 5, "size": [1.0, 2.0, 3.0, 4.0] * 5})
    encode = make_column_transformer((OneHotEncoder(), ["colour"]), remainder="passthrough")
    targets = ["warm", "cold", "warm", "cold"] * 5
    return _dumped(tmp_path_factory, "model.joblib", make_pipeline(encode, LogisticRegression()).fit(table, targets))


def _dumped(factory: pytest.TempPathFactory, name: str, model: Any) -> Path:
    import joblib

    folder = factory.mktemp("sklearn")
    joblib.dump(model, folder / name)
    return folder


@pytest.fixture(scope="session")
def mxnet() -> Any:
    if importlib.util.find_spec("mxnet") is None:
        pytest.skip("mxnet is not installed")
    importlib.import_module("polyhost.handlers.mxnet.handler")  # first: it makes MXNet importable
    return importlib.import_module("mxnet")


@pytest.fixture(scope="session")
def mxnet_net(tmp_path_factory: pytest.TempPathFactory, mxnet: Any) -> Path:
    """Build a small convolutional network for 3 x 6 x 6 images and seven classes, with labels."""
    folder = tmp_path_factory.mktemp("mxnet")
    layer = mxnet.sym.Convolution(mxnet.sym.Variable("data"), kernel=(3, 3), num_filter=4, name="conv0")
    layer = mxnet.sym.Activation(mxnet.sym.BatchNorm(layer, name="bn0"), act_type="relu")
    layer = mxnet.sym.FullyConnected(mxnet.sym.Flatten(layer), num_hidden=7, name="fc0")
    network = mxnet.sym.SoftmaxOutput(layer, name="softmax")
    arg_shapes, _, aux_shapes = network.infer_shape(data=(1, 3, 6, 6))
    random = numpy.random.default_rng(0)

    def arrays(names: list[str], shapes: list[Any]) -> dict[str, Any]:
        values = zip(names, shapes, strict=True)
        return {name: mxnet.nd.array(abs(random.normal(size=shape)) + 0.1) for name, shape in values}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a scipy name that mxnet.nd.array looks up
        args = arrays(network.list_arguments(), arg_shapes)
        aux = arrays(network.list_auxiliary_states(), aux_shapes)
    del args["data"], args["softmax_label"]
    mxnet.model.save_checkpoint(str(folder / "net"), 0, network, args, aux)
    (folder / "net-shapes.json").write_text('[{"shape": [1, 3, 6, 6], "name": "data"}]')
    (folder / "synset.txt").write_text("".join(f"n0000000{index} thing {index}, item {index}\n" for index in range(7)))
    return folder


@pytest.fixture(scope="session")
def torch_net() -> Any:
    """Build a network that returns the sum of its pixels and its negative: easy to check by hand."""
    pytest.importorskip("torch")
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = torch.nn.Linear(16, 2, bias=False)
            with torch.no_grad():
                self.line.weight[0], self.line.weight[1] = 1.0, -1.0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores: torch.Tensor = self.line(x.flatten(1))
            return scores

    return Net().eval()


@pytest.fixture(scope="session")
def torch_script(tmp_path_factory: pytest.TempPathFactory, torch_net: Any) -> Path:
    pytest.importorskip("torch")
    import torch

    folder = tmp_path_factory.mktemp("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        trace: Any = torch.jit.trace
        trace(torch_net, torch.zeros(1, 1, 4, 4)).save(str(folder / "model.pt"))
    (folder / "shapes.json").write_text(json.dumps([{"shape": [1, 1, 4, 4], "name": "pixels"}]))
    return folder


@pytest.fixture(scope="session")
def torch_program(tmp_path_factory: pytest.TempPathFactory, torch_net: Any) -> Path:
    pytest.importorskip("torch")
    import torch

    folder = tmp_path_factory.mktemp("torch")
    rows = torch.export.Dim("rows")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(torch_net, (torch.zeros(2, 1, 4, 4),), dynamic_shapes=({0: rows},))
        torch.export.save(program, folder / "model.pt2")
    return folder


@pytest.fixture
def serve() -> type[Served]:
    return Served


@pytest.fixture(scope="session")
def boosted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a Booster of XGBoost on two features."""
    xgboost = pytest.importorskip("xgboost", reason="xgboost is not installed")
    folder = tmp_path_factory.mktemp("boosted")
    matrix = xgboost.DMatrix(numpy.arange(20.0).reshape(10, 2), numpy.arange(10) > 4, nthread=1)
    xgboost.train({"objective": "binary:logistic", "nthread": 1}, matrix, 3).save_model(folder / "model.ubj")
    return folder


@pytest.fixture(scope="session")
def boosted_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a Booster of LightGBM on two features."""
    lightgbm = pytest.importorskip("lightgbm", reason="lightgbm is not installed")
    folder = tmp_path_factory.mktemp("boosted_text")
    data = lightgbm.Dataset(numpy.arange(20.0).reshape(10, 2), (numpy.arange(10) > 4).astype(int))
    params = {"objective": "binary", "num_threads": 1, "verbosity": -1, "min_data_in_leaf": 1, "min_data_in_bin": 1}
    lightgbm.train(params, data, 3).save_model(folder / "model.txt")
    return folder


@pytest.fixture(scope="session")
def onnx_net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a layer that takes two numbers a row."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Softmax", ["data"], ["scores"])],
        "graph",
        [helper.make_tensor_value_info("data", number, ["n", 2])],
        [helper.make_tensor_value_info("scores", number, ["n", 2])],
    )
    folder = tmp_path_factory.mktemp("onnx_net")
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    return folder
