"""Hugging Face models on a GPU: the answers of the CPU, the weights' own type, adapters, and a GPU without room."""

import importlib
import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.gpu.conftest import Gpu, add_model
from tests.handlers.served import Served
from tests.support.container import ContainerProcess, running
from tests.support.waiting import wait_for

GOOD, BAD = "the film was good", "the film was bad and nobody liked it"
WRITTEN = {"inputs": GOOD, "parameters": {"max_new_tokens": 4, "do_sample": False}}
BODIES = {
    "ElectraForSequenceClassification": {"inputs": [GOOD, BAD]},
    "BertForQuestionAnswering": {"question": "what is good", "context": GOOD},
    "BertForTokenClassification": {"inputs": GOOD},
    "BertModel": {"inputs": GOOD},
    "GPT2LMHeadModel": WRITTEN,
    "T5ForConditionalGeneration": WRITTEN,
}
LEFT_FREE = 64 * 1024 * 1024  # less than CUDA's context takes
TELLS = """
def predict_fn(data, pipeline):
    model = pipeline.model
    return {"device": model.device.type, "dtype": str(model.dtype), "answer": pipeline(data["inputs"])}
"""
TAKES_THE_GPU = f"""
import torch

def model_fn(model_dir):
    torch.zeros(1, device="cuda")
    return torch.zeros(torch.cuda.mem_get_info()[0] - {LEFT_FREE}, dtype=torch.uint8, device="cuda")

def predict_fn(data, model):
    return [model.device.type]
"""


@pytest.fixture(scope="module")
def bases(gpu: Gpu) -> Iterator[Path]:
    """Yield a folder of base models with one, "tiny-bert"."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)  # models have users of their own
        _made(Path(folder, "tiny-bert"), "BertModel")
        yield Path(folder)


@pytest.fixture(scope="module")
def served(bases: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerProcess]:
    """Start a container that knows the base models."""
    environ = {"POLYHOST_ZYGOTES": "huggingface torch", "POLYHOST_BASE_MODELS": str(bases)}
    with running(tmp_path_factory.mktemp("gpu"), "native", **environ) as started:
        yield started


def _made(folder: Path, architecture: str, **config: Any) -> Path:
    pytest.importorskip("transformers")
    from tests.support import huggingface

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the frameworks' own, in versions that this machine happens to have
        return huggingface.save(folder, architecture, **config)


def _answer(container: ContainerProcess, name: str, body: Any) -> Any:
    response = container.invoke(name, json.dumps(body))
    assert response.status_code == 200, response.text
    return response.json()


def _on_cpu(folder: Path, body: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Served(folder).post(json.dumps(body)).json


def _is_alike(one: Any, other: Any) -> bool:
    match one:
        case dict():
            return one.keys() == other.keys() and all(_is_alike(one[key], other[key]) for key in one)
        case list():
            return len(one) == len(other) and all(map(_is_alike, one, other))
        case float():
            return bool(one == pytest.approx(other, rel=1e-3, abs=1e-4))
    return bool(one == other)


@pytest.mark.parametrize("architecture", BODIES)
def test_the_answers_are_those_of_the_cpu(gpu: Gpu, served: ContainerProcess, architecture: str) -> None:
    folder = _made(served.folder(architecture), architecture)
    expected, before = _on_cpu(folder, BODIES[architecture]), gpu.used
    name = served.loaded(architecture)
    answer = _answer(served, name, BODIES[architecture])
    assert _is_alike(answer, expected), f"{answer} on the GPU, {expected} on the CPU"
    assert gpu.used > before, "the worker has no context on the GPU"
    served.unload(name)
    wait_for(lambda: gpu.used <= before, "the GPU's memory to be free again")


def test_a_text_is_streamed(gpu: Gpu, served: ContainerProcess) -> None:
    folder = _made(served.folder("streamed"), "GPT2LMHeadModel")
    ((expected,),) = (_on_cpu(folder, WRITTEN),)
    response = served.invoke(served.loaded("streamed"), json.dumps({**WRITTEN, "stream": True}))
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert expected["generated_text"].endswith(lines[-1]["generated_text"])
    served.unload("streamed")


def test_concurrent_calls_get_their_own_answers(gpu: Gpu, served: ContainerProcess) -> None:
    folder = _made(served.folder("concurrent"), "ElectraForSequenceClassification")
    bodies = [{"inputs": " ".join([GOOD] * count)} for count in range(1, 9)]
    name = served.loaded("concurrent")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda body: _answer(served, name, body), bodies * 3))
    assert all(map(_is_alike, answers, [_on_cpu(folder, body) for body in bodies] * 3))
    served.unload(name)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_weights_keep_their_type(gpu: Gpu, served: ContainerProcess, dtype: str) -> None:
    import torch

    folder = _made(served.folder(dtype), "ElectraForSequenceClassification")
    model = importlib.import_module("transformers").ElectraForSequenceClassification.from_pretrained(folder)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    add_model(served, dtype, {"code/inference.py": TELLS})
    answer = _answer(served, served.loaded(dtype), {"inputs": GOOD})
    assert (answer["device"], answer["dtype"]) == ("cuda", f"torch.{dtype}")
    assert answer["answer"][0]["label"].startswith("LABEL_")
    served.unload(dtype)


def test_an_adapter_is_beside_its_base(
    gpu: Gpu, served: ContainerProcess, bases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("peft")
    from tests.support.huggingface import save_adapter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PEFT's own
        folder = save_adapter(served.folder("adapter"), bases / "tiny-bert")
    monkeypatch.setenv("POLYHOST_BASE_MODELS", str(bases))
    expected = _on_cpu(folder, {"inputs": [GOOD, BAD]})
    assert _is_alike(_answer(served, served.loaded("adapter"), {"inputs": [GOOD, BAD]}), expected)
    served.unload("adapter")
    told = served.folder("told")
    shutil.copytree(folder, told)
    add_model(served, "told", {"code/inference.py": TELLS})
    assert _answer(served, served.loaded("told"), {"inputs": GOOD})["device"] == "cuda"
    served.unload("told")


def test_a_load_that_does_not_fit_the_gpu_is_507(gpu: Gpu, served: ContainerProcess) -> None:
    before = gpu.used
    holder = served.loaded(add_model(served, "holder", {"inference.py": TAKES_THE_GPU}))
    folder = _made(served.folder("refused"), "ElectraForSequenceClassification")
    refused = served.load("refused")
    assert refused.status_code == 507, refused.text
    assert "refused" not in served.names()
    served.unload(holder)
    wait_for(lambda: gpu.used <= before, "the GPU's memory to be free again")
    assert _is_alike(_answer(served, served.loaded("refused"), {"inputs": GOOD}), _on_cpu(folder, {"inputs": GOOD}))
    served.unload("refused")


def test_a_container_that_sees_no_gpu_uses_the_cpu(gpu: Gpu, tmp_path: Path) -> None:
    environ = {"POLYHOST_ZYGOTES": "huggingface", "CUDA_VISIBLE_DEVICES": ""}
    with running(tmp_path, "native", **environ) as container:
        _made(container.folder("model"), "ElectraForSequenceClassification")
        add_model(container, "model", {"code/inference.py": TELLS})
        assert _answer(container, container.loaded("model"), {"inputs": GOOD})["device"] == "cpu"
