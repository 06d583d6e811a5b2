"""PyTorch models on a GPU: where they and their inputs are, and what happens when its memory is full."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy
import pytest

from tests.gpu.conftest import ROW, Gpu, add_model, expected, exported, linear, torch_script
from tests.support.container import ContainerProcess
from tests.support.waiting import wait_for

SCRIPT = """
import torch
from collections import OrderedDict

def model_fn(model_dir, context=None):
    model = torch.jit.load(f"{{model_dir}}/weights.pt")
    return {moved}
"""
# Answers with where its model is, too.
DESCRIBES = (
    SCRIPT
    + """
def predict_fn(data, model):
    there = next(model.parameters()).device
    return {{"model": there.type, "answer": model(data.to(there)).tolist()}}

def output_fn(answer, accept):
    import json
    return json.dumps(answer)
"""
)
HOLDS = """
import torch

def model_fn(model_dir, context):
    gpu = context.system_properties["gpu_id"]
    return torch.zeros({bytes}, dtype=torch.uint8, device=f"cuda:{{gpu}}")

def predict_fn(data, model):
    return [model.device.type, model.numel()]
"""
FILLS_IN_A_CALL = """
import torch

def model_fn(model_dir):
    return torch.nn.Linear(8, 1).to("cuda")

def predict_fn(data, model):
    if float(data.sum()) > 0:
        return model(data.to("cuda"))
    return torch.zeros({bytes}, dtype=torch.uint8, device="cuda").numel()
"""


def _npy(array: Any) -> bytes:
    stream = io.BytesIO()
    numpy.save(stream, array)
    return stream.getvalue()


def _answer(container: ContainerProcess, name: str, rows: Any = ROW) -> Any:
    response = container.invoke(name, _npy(rows), "application/x-npy")
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize(("file", "saved"), [("model.pt", torch_script), ("model.pt2", exported)])
def test_the_torch_handler_serves_from_the_gpu(gpu: Gpu, served: ContainerProcess, file: str, saved: Any) -> None:
    module = linear()
    before = gpu.used
    name = served.loaded(add_model(served, f"archive-{file.replace('.', '-')}", {file: saved(module)}))
    numpy.testing.assert_allclose(_answer(served, name), expected(module), rtol=1e-3, atol=1e-4)
    assert gpu.used > before, "the worker has no context on the GPU"
    served.unload(name)
    wait_for(lambda: gpu.used <= before, "the GPU's memory to be free again")


def test_concurrent_calls_get_their_own_answers(gpu: Gpu, served: ContainerProcess) -> None:
    module = linear(3)
    name = served.loaded(add_model(served, "concurrent", {"model.pt": torch_script(module)}))
    rows = [ROW * scale for scale in range(32)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda row: _answer(served, name, row), rows))
    import torch

    for row, answer in zip(rows, answers, strict=True):
        numpy.testing.assert_allclose(answer, module(torch.from_numpy(row)).detach(), rtol=1e-3, atol=1e-3)
    served.unload(name)


@pytest.mark.parametrize(
    "moved",
    ["model", 'model.to("cuda")', 'torch.nn.DataParallel(model.to("cuda"))'],
    ids=["left on the CPU", "moved", "DataParallel"],
)
def test_inputs_go_where_a_scripts_model_is(gpu: Gpu, served: ContainerProcess, moved: str) -> None:
    module = linear(1)
    files: dict[str, bytes | str] = {"inference.py": SCRIPT.format(moved=moved), "weights.pt": torch_script(module)}
    name = served.loaded(add_model(served, f"script-{len(moved)}", files))
    numpy.testing.assert_allclose(_answer(served, name), expected(module), rtol=1e-3, atol=1e-4)
    served.unload(name)


@pytest.mark.parametrize(("moved", "there"), [("model", "cpu"), ('model.to("cuda")', "cuda")])
def test_a_scripts_own_predict_fn_finds_its_model_where_it_left_it(
    gpu: Gpu, served: ContainerProcess, moved: str, there: str
) -> None:
    module = linear(2)
    files: dict[str, bytes | str] = {"inference.py": DESCRIBES.format(moved=moved), "weights.pt": torch_script(module)}
    name = served.loaded(add_model(served, f"own-{there}", files))
    answer = _answer(served, name)
    assert answer["model"] == there
    numpy.testing.assert_allclose(answer["answer"], expected(module), rtol=1e-3, atol=1e-4)
    served.unload(name)


def test_a_load_that_does_not_fit_the_gpu_is_507_and_others_go_on(gpu: Gpu, served: ContainerProcess) -> None:
    module = linear()
    neighbour = served.loaded(add_model(served, "neighbour", {"model.pt": torch_script(module)}))
    most = gpu.total * 6 // 10
    first = served.loaded(add_model(served, "most", {"inference.py": HOLDS.format(bytes=most)}))
    assert _answer(served, first) == ["cuda", most]
    second = add_model(served, "too-much", {"inference.py": HOLDS.format(bytes=most)})
    refused = served.load(second)
    assert refused.status_code == 507, refused.text
    assert second not in served.names()
    numpy.testing.assert_allclose(_answer(served, neighbour), expected(module), rtol=1e-3, atol=1e-4)
    served.unload(first)
    wait_for(lambda: gpu.used < most, "the GPU's memory to be free again")
    assert _answer(served, served.loaded(second)) == ["cuda", most]
    for name in (neighbour, second):
        served.unload(name)


def test_a_call_that_does_not_fit_the_gpu_is_507_and_the_next_is_answered(gpu: Gpu, served: ContainerProcess) -> None:
    files = {"inference.py": FILLS_IN_A_CALL.format(bytes=gpu.total * 2)}
    name = served.loaded(add_model(served, "fills", files))
    refused = served.invoke(name, _npy(numpy.zeros_like(ROW)), "application/x-npy")
    assert refused.status_code == 507, refused.text
    assert numpy.shape(_answer(served, name)) == (1, 1)
    served.unload(name)


def test_the_container_tells_a_script_its_gpu(gpu: Gpu, served: ContainerProcess) -> None:
    script = "import torch\ndef model_fn(model_dir, context):\n    return context.system_properties['gpu_id']\n"
    script += "def predict_fn(data, model):\n    return {'gpu_id': model}\n"
    script += "def output_fn(answer, accept):\n    import json\n    return json.dumps(answer)\n"
    name = served.loaded(add_model(served, "told", {"inference.py": script}))
    response = served.invoke(name, json.dumps([[1.0]]))
    assert response.json() == {"gpu_id": 0}
    served.unload(name)
