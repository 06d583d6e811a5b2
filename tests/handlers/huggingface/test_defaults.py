"""What SageMaker's Hugging Face image does for a script. Not the real package: a small one is in the archive."""

import json
import sys
from typing import Any

import numpy
import pytest

from tests.handlers.conftest import Archive
from tests.handlers.served import Served, npy, picture

pytest.importorskip("torch")

# As transformers has them: a pipeline is an object that is called, and a model is a module.
TRANSFORMERS = """
import torch
class Pipeline:
    def __call__(self, inputs, **parameters):
        return [{"inputs": inputs if isinstance(inputs, (str, list, dict)) else type(inputs).__name__, **parameters}]
    def predict(self, X):
        return self(X)
class PreTrainedModel(torch.nn.Module):
    def forward(self, x):
        return {"logits": x + 1}
"""
MODEL = "import transformers\ndef model_fn(model_dir):\n    return transformers.KIND()\n"


@pytest.fixture
def serve_kind(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in [name for name in sys.modules if name.partition(".")[0] == "transformers"]:
        monkeypatch.delitem(sys.modules, name)

    def serve_kind(kind: str, more: str = "") -> Served:
        source = MODEL.replace("KIND", kind) + more
        return Served(archive(**{"code/inference.py": source, "code/transformers.py": TRANSFORMERS}))

    return serve_kind


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        ({"inputs": "text"}, {"inputs": "text"}),
        ({"inputs": ["a", "b"], "parameters": {"top_k": 2}}, {"inputs": ["a", "b"], "top_k": 2}),
        ({"inputs": {"question": "q", "context": "c"}}, {"inputs": {"question": "q", "context": "c"}}),
        ({"question": "q", "context": "c"}, {"inputs": {"question": "q", "context": "c"}}),
        (["a"], {"inputs": ["a"]}),
        ("text", {"inputs": "text"}),
    ],
)
def test_a_pipeline_is_called_with_inputs_and_parameters(serve_kind: Any, sent: Any, answer: Any) -> None:
    assert serve_kind("Pipeline").post(json.dumps(sent)).json == [answer]


def test_other_bodies_for_a_pipeline(serve_kind: Any) -> None:
    served = serve_kind("Pipeline")
    assert served.post("inputs\nfirst\nsecond", "text/csv").json == [{"inputs": ["first", "second"]}]
    assert served.post("question,context\nq,c", "text/csv").json == [{"inputs": [{"question": "q", "context": "c"}]}]
    assert served.post(picture(numpy.zeros((2, 2))), "image/png").json == [{"inputs": "Image"}]
    assert served.post(b"RIFF", "audio/wav").json == [{"inputs": "bytes"}]
    assert served.post('{"inputs": "x", "parameters": 3}').status == 400


def test_a_predict_fn_gets_json_as_it_was_sent(serve_kind: Any) -> None:
    served = serve_kind("Pipeline", "def predict_fn(data, model):\n    return [type(data).__name__, data]\n")
    for sent in ({"inputs": "x", "parameters": {"k": 1}}, [[1, 2]], "text", 5):
        assert served.post(json.dumps(sent)).json == [type(sent).__name__, sent]


def test_a_network_is_called_on_tensors(serve_kind: Any) -> None:
    assert serve_kind("PreTrainedModel").post("[[1, 2]]").json == {"logits": [[2, 3]]}
    assert serve_kind("PreTrainedModel").post(npy([[1.5]]), "application/x-npy").json == {"logits": [[2.5]]}
