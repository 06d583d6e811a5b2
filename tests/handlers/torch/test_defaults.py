"""What SageMaker's PyTorch image does for a script, done here: modes, tensors in and out, and where the model is."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy
import pytest

from polyhost.handlers.errors import BadModelError
from tests.handlers.conftest import Archive
from tests.handlers.served import Served, npy

pytest.importorskip("torch")
import torch

from polyhost.handlers.torch import models as torch_models

NET = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(2)
        self.drop = torch.nn.Dropout(0.5)
    def forward(self, x):
        assert not torch.is_grad_enabled()
        return self.drop(self.norm(x))
class Wrapper:
    def __init__(self, net):
        self.net = net
class Callable(Wrapper):
    def __call__(self, x):
        return self.net(x)
class Predictor(Wrapper):
    def predict(self, x):
        return self.net(x)
def function(net):
    return lambda x: net(x)
"""
ROWS = json.dumps([[1.0, 2.0]])
ROUNDED = [[1.0, 2.0]]  # BatchNorm divides by the root of 1.00001


def rounded(response: Any) -> Any:
    return numpy.round(numpy.asarray(response.json), 3).tolist()


@pytest.mark.parametrize(
    "model",
    [
        "Net()",
        "Net().train()",
        "torch.nn.DataParallel(Net())",
        "torch.nn.Sequential(Net(), Net())",
        "torch.jit.script(torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Dropout(0.5)))",
        "Callable(Net())",
        "Predictor({'a': [Net()]}['a'][0])",
        "Predictor(Net()).predict",
        "function(Net())",
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_default_prediction_is_in_evaluation_mode(archive: Archive, model: str) -> None:
    served = Served(archive(**{"inference.py": f"{NET}def model_fn(model_dir):\n    return {model}\n"}))
    assert [rounded(served.post(ROWS)) for _ in range(5)] == [ROUNDED] * 5


def test_evaluation_mode_comes_last_and_stays(archive: Archive) -> None:
    source = f"""{NET}
NETS = []
def model_fn(model_dir):
    NETS.append(Net())
    return NETS[0]
def model_warmup_fn(model_dir, model):
    model.train()
def input_fn(body, content_type):
    NETS[0].train()
    return torch.tensor([[1.0, 2.0]])
"""
    served = Served(archive(**{"inference.py": source}))
    assert [rounded(served.post(ROWS)) for _ in range(3)] == [ROUNDED] * 3


def test_program_of_torch_export(archive: Archive, torch_program: Path) -> None:
    load = "import os, torch\ndef model_fn(model_dir):\n    "
    load += "return torch.export.load(os.path.join(model_dir, 'model.pt2'))"
    pixels = npy(numpy.ones((1, 1, 4, 4), "f4"))
    for end in ("", ".module()"):
        served = Served(archive(torch_program, **{"inference.py": load + end}))
        assert served.post(pixels, "application/x-npy").json == [[16, -16]]


def test_a_predict_fn_finds_the_model_as_it_was_left(archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    """SageMaker's image leaves the mode to the script as well; the log tells of layers for which it matters."""
    source = f"{NET}def model_fn(model_dir):\n    return MODEL\n"
    source += "def predict_fn(data, model):\n    return [model.training, torch.is_grad_enabled()]\n"
    for model, training, warned in [("Net()", True, True), ("Net().eval()", False, False)]:
        caplog.clear()
        served = Served(archive(**{"inference.py": source.replace("MODEL", model)}))
        assert served.post(ROWS).json == [training, True]
        assert ("leaves the Net in training mode, in which BatchNorm1d, Dropout" in caplog.text) is warned
    caplog.clear()
    Served(archive(**{"inference.py": source.replace("MODEL", "torch.nn.Linear(1, 1)")}))
    assert not caplog.records or logging.WARNING not in {record.levelno for record in caplog.records}


ECHO = """
import torch
def model_fn(model_dir):
    return torch.nn.Linear(2, 1)
def predict_fn(data, model):
    if isinstance(data, torch.Tensor):
        return [str(data.dtype), str(data.device), list(data.shape), data.tolist()]
    return [type(data).__name__, str(data)]
"""


def test_a_predict_fn_gets_a_tensor(archive: Archive) -> None:
    served = Served(archive(**{"inference.py": ECHO}))
    assert served.post("[[1, 2]]").json == ["torch.float32", "cpu", [1, 2], [[1.0, 2.0]]]
    assert served.post("[true, 2]").json == ["torch.float32", "cpu", [2], [1.0, 2.0]]
    assert served.post("1,2\n3,4", "text/csv").json[:3] == ["torch.float32", "cpu", [2, 2]]
    assert served.post("[1]\n[2]", "application/jsonlines").json[2] == [2, 1]
    assert served.post(npy(numpy.ones((1, 2), ">i8")), "application/x-npy").json[0] == "torch.int64"
    assert served.post(npy(numpy.ones((1, 2), "f2")), "application/x-npy").json[0] == "torch.float16"
    assert served.post('{"instances": [[1, 2]], "parameters": {"k": 1}}').json[0] == "dict"
    assert served.post('["text"]').json == ["list", "['text']"]
    assert served.post(npy(["text"]), "application/x-npy").json[0] == "ndarray"
    assert served.post("[1e300]").status == 400


@pytest.mark.parametrize(
    "use",
    [
        "model(data)",
        "model(data.to(torch.device('cpu')))",
        "model(torch.as_tensor(data))",
        "numpy.asarray(data) @ [[1.0], [1.0]]",
        "numpy.exp(data) * 0 + 3",
        "data.sum(axis=1)",
        "torch.cat([data, data]).mean(dim=0).sum()",
    ],
)
def test_torch_and_numpy_both_take_what_a_predict_fn_gets(archive: Archive, use: str) -> None:
    source = "import numpy, torch\ndef model_fn(d):\n    net = torch.nn.Linear(2, 1, bias=False)\n"
    source += "    torch.nn.init.ones_(net.weight)\n    return net\n"
    source += f"def predict_fn(data, model):\n    return {use}\n"
    answer = Served(archive(**{"inference.py": source})).post("[[1, 2]]").json
    assert numpy.ravel(answer).tolist()[0] == 3


@pytest.mark.filterwarnings("ignore:.*quantize:UserWarning")
@pytest.mark.parametrize(
    ("returned", "body"),
    [
        ("torch.tensor([[1.5, 2]])", [[1.5, 2]]),
        ("torch.tensor(1.5, requires_grad=True)", 1.5),
        ("torch.tensor([1.5], dtype=torch.bfloat16)", [1.5]),
        ("torch.tensor([1.5]).to(torch.float8_e4m3fn)", [1.5]),
        ("torch.tensor([1, 2])", [1, 2]),
        ("torch.nn.Parameter(torch.ones(1))", [1]),
        ("torch.eye(2).to_sparse()", [[1, 0], [0, 1]]),
        ("torch.quantize_per_tensor(torch.ones(1), 0.5, 0, torch.qint8)", [1]),
        ("[torch.ones(1), torch.zeros(2)]", [[1], [0, 0]]),
        ("[torch.ones(1)]", [[1]]),
        ("(torch.ones(1), 'a')", [[1], "a"]),
        ("{'scores': torch.ones(1, requires_grad=True), 'n': 1}", {"scores": [1], "n": 1}),
        ("[{'boxes': torch.zeros(0, 4)}]", [{"boxes": []}]),
        ("collections.namedtuple('Output', 'logits loss')(torch.ones(1), None)", [[1], None]),
        (
            "dataclasses.make_dataclass('Output', ['logits', 'loss'])(torch.ones(1), None)",
            {"logits": [1], "loss": None},
        ),
    ],
)
def test_tensors_are_written(archive: Archive, returned: str, body: Any) -> None:
    model = "import collections, dataclasses, torch\ndef model_fn(d):\n    return torch.nn.Linear(1, 1)\n"
    predict = f"def predict_fn(data, model):\n    return {returned}\n"
    served = Served(archive(**{"inference.py": model + predict}))
    assert served.post("[[1]]").json == body
    output = f"def output_fn(prediction, accept):\n    return {returned.replace('8_e4m3fn', '32')}\n"
    if not any(word in returned for word in ("sparse", "quantize", ", 'a')", "dataclass", "namedtuple")):
        assert Served(archive(**{"inference.py": model + output})).post("[[1]]").json == body


def test_arrays_keep_their_type_in_npy(archive: Archive) -> None:
    source = "import torch\ndef model_fn(d):\n    return torch.nn.Linear(1, 1)\n"
    source += "def predict_fn(data, model):\n    return data.half()\n"
    body = Served(archive(**{"inference.py": source})).post("[[1]]", Accept="application/x-npy").body
    assert body[:10] == npy(numpy.ones((1, 1), "f2"))[:10] and b"<f2" in body


@pytest.mark.parametrize("files", ["", "torch_script", "torch_program"])
def test_an_output_fn_gets_the_models_own_output(archive: Archive, request: pytest.FixtureRequest, files: str) -> None:
    """Not labels, and no array: SageMaker's image gives the tensor, which may be changed in place."""
    base = request.getfixturevalue(files) if files else None
    source = "import torch\n" + ("" if files else "def model_fn(d):\n    return torch.nn.Flatten()\n")
    source += "def output_fn(prediction, accept):\n    prediction += 1\n    return prediction.cpu().numpy().tolist()\n"
    served = Served(archive(base, **{"inference.py": source, "labels.txt": "a\nb\n"}))
    pixels = npy(numpy.ones((1, 1, 4, 4), "f4"))
    assert served.post(pixels, "application/x-npy").json == ([[17, -15]] if files else [[2] * 16])


@pytest.mark.parametrize(
    ("forward", "returned", "answer"),
    [
        ("(self, x)", "torch.tensor([[1.0, 2]])", [[2, 4]]),
        ("(self, x)", "torch.tensor([[1, 2]])", [[2, 4]]),
        ("(self, x)", "torch.tensor(1.0)", 2),
        ("(self, x)", "numpy.array([[1.0, 2]])", [[2, 4]]),
        ("(self, x)", "[[1.0, 2]]", [[2, 4]]),
        ("(self, x, y)", "(torch.ones(1), torch.ones(1))", [2]),
        ("(self, x, mask)", "{'x': torch.ones(1), 'mask': torch.ones(1)}", [2]),
        ("(self, x)", "Encoding({'x': torch.ones(1)})", [2]),
        ("(self, x)", "[torch.ones(1)]", [2]),
    ],
)
def test_default_prediction_takes_what_an_input_fn_makes(
    archive: Archive, forward: str, returned: str, answer: Any
) -> None:
    source = f"""
import collections, numpy, torch
class Encoding(collections.UserDict):
    def to(self, device):
        return self
class Net(torch.nn.Module):
    def forward{forward}:
        return 2 * (x if isinstance(x, torch.Tensor) else x["x"] if isinstance(x, Encoding) else x[0])
def model_fn(model_dir):
    return Net()
def input_fn(body, content_type):
    return {returned}
"""
    assert Served(archive(**{"inference.py": source})).post("").json == answer


def test_a_model_that_cannot_be_called_fails_at_load(archive: Archive) -> None:
    source = "import torch\ndef model_fn(model_dir):\n    return (torch.nn.Flatten(), 1)\n"
    with pytest.raises(BadModelError, match="model_fn gives a tuple, which cannot be called on a tensor"):
        Served(archive(**{"inference.py": source}))


def test_the_models_framework_comes_before_files_and_imports(archive: Archive, moons_forest: Path) -> None:
    """The script imports PyTorch in a helper only, and the archive holds a pickle."""
    helper = "import torch\nnet = torch.nn.Flatten()\n"
    source = "import helper\ndef model_fn(d):\n    return helper.net\n"
    echo = "def predict_fn(data, model):\n    return type(data).__name__\n"
    assert Served(archive(moons_forest, **{"inference.py": source, "helper.py": helper})).post("[[1]]").json == [[1]]
    served = Served(archive(moons_forest, **{"inference.py": source + echo, "helper.py": helper}))
    assert served.post("[[1]]").json == "Tensor"
    forest = "import torch, joblib\ndef model_fn(d):\n    return joblib.load(d + '/pickled_rf_model.p')\n"
    assert Served(archive(moons_forest, **{"inference.py": forest + echo})).post("[[1]]").json == "ndarray"


def moved(model: Any) -> tuple[str, str]:
    """Return where a model is before and after it is moved to PyTorch's device of tensors without memory."""
    place = torch_models.TorchPlace(model, torch.device("cuda", 3))
    before = place.device
    for module in torch_models.modules(model):
        module.to("meta")
    return str(before), str(place.device)


class Constant(torch.nn.Module):
    def __init__(self, device: str) -> None:
        super().__init__()
        self.constant = torch.ones(1, device=device)


@pytest.mark.parametrize(
    "model",
    [
        torch.nn.Linear(1, 1),
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1, 1)),
        torch.nn.BatchNorm1d(1, affine=False),  # buffers only
        torch.nn.DataParallel(torch.nn.Linear(1, 1)),
        (torch.nn.Linear(1, 1), "labels"),
        {"net": [torch.nn.Linear(1, 1)]},
        torch.nn.Linear(1, 1).forward,
    ],
)
def test_inputs_go_where_the_model_is(model: Any) -> None:
    """No GPU is needed to see it: the other device is "meta"."""
    assert moved(model) == ("cpu", "meta")


@pytest.mark.parametrize(
    ("model", "device"),
    [
        (torch.nn.Linear(1, 1, device="meta"), "meta"),
        (Constant("meta"), "meta"),
        ({"weights": torch.ones(1, device="meta")}, "meta"),
        (torch.nn.Flatten(), "cpu"),  # nothing that could be anywhere
        (object(), "cuda:3"),  # no model of PyTorch's: the GPU that was assigned
    ],
)
def test_places_of_models(model: Any, device: str) -> None:
    assert str(torch_models.TorchPlace(model, torch.device("cuda", 3)).device) == device


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_place_of_a_torchscript() -> None:
    script: Any = torch.jit.script
    assert str(torch_models.TorchPlace(script(torch.nn.Linear(1, 1)), torch.device("cuda", 3)).device) == "cpu"
    elsewhere = script(torch.nn.Linear(1, 1, device="meta"))
    assert str(torch_models.TorchPlace(elsewhere, torch.device("cpu")).device) == "meta"


def test_data_and_default_predictions_are_on_the_models_device(archive: Archive) -> None:
    source = "import torch\ndef model_fn(d):\n    return torch.nn.Linear(2, 1, device='meta')\n"
    predict = "def predict_fn(data, model):\n    return [str(data.device), str(model(data).device)]\n"
    assert Served(archive(**{"inference.py": source + predict})).post("[[1, 2]]").json == ["meta", "meta"]
    output = "def output_fn(prediction, accept):\n    return str(prediction.device)\n"
    assert Served(archive(**{"inference.py": source + output})).post("[[1, 2]]").body == b"meta"
    made = "def input_fn(body, content_type):\n    return torch.ones(1, 2)\n"
    assert Served(archive(**{"inference.py": source + made + output})).post("").body == b"meta"
