"""What the zygote has imported: all that the models of common architectures need."""

import json

from polyhost.handlers import frameworks
from tests.handlers.huggingface.conftest import Tiny
from tests.handlers.test_frameworks import preloading, python

GOOD = "the film was good"
WRITTEN = {"inputs": GOOD, "parameters": {"max_new_tokens": 3}}
BODIES = {
    "ElectraForSequenceClassification": {"inputs": GOOD},
    "BertForTokenClassification": {"inputs": [GOOD, GOOD]},
    "BertForQuestionAnswering": {"question": "what is good", "context": GOOD},
    "BertForMaskedLM": {"inputs": "the [MASK] was good"},
    "BertModel": {"inputs": GOOD},
    "GPT2LMHeadModel": {**WRITTEN, "stream": True},
    "T5ForConditionalGeneration": WRITTEN,
}


def test_zygote_has_one_thread_and_its_models_import_nothing(tiny: Tiny) -> None:
    models = [(str(tiny(name)), json.dumps(body)) for name, body in BODIES.items()]
    code = f"""
import os, sys
print(len(os.listdir("/proc/self/task")))
from tests.handlers.served import Served, picture
import numpy
image = picture(numpy.zeros((8, 8, 3)))
before = set(sys.modules)
for folder, body in {models!r}:
    item = Served(folder).post(body).item
    assert not isinstance(item, Exception), item
    if not isinstance(item, bytes):
        list(item)
Served({str(tiny("ViTForImageClassification"))!r}).post(image, "image/png").json
print(sorted(set(sys.modules) - before))
"""
    steps = preloading(frameworks.zygote_steps()["huggingface"])
    assert python(steps + code, **frameworks.environment()).splitlines() == ["1", "[]"]


def test_a_prediction_on_the_cpu_does_not_initialize_cuda(tiny: Tiny) -> None:
    """PyTorch initializes it when it is asked for graphs being captured; no fork could use a GPU afterwards."""
    code = f"""
import torch
asked = []
torch.cuda.is_current_stream_capturing = lambda: bool(asked.append(True))
from tests.handlers.served import Served
Served({str(tiny("ElectraForSequenceClassification"))!r}).post({json.dumps({"inputs": [GOOD, "good"]})!r}).json
print(asked)
"""
    assert python(code, **frameworks.environment()).splitlines() == ["[]"]
