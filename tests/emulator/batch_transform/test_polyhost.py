"""Transform jobs of polyhost's own container, with both front ends."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.server import Emulator
from tests.emulator.batch_transform.harness import Batch
from tests.support.s3 import packed

MB = 1 << 20
# Its response says what it got, and for how long it may take.
SCRIPT = """
import json
import os

def model_fn(model_dir):
    return None

def input_fn(body, content_type):
    return body

def predict_fn(body, model):
    return len(body), body[:1].decode()

def output_fn(prediction, accept):
    size, first = prediction
    return json.dumps({"size": size, "first": first, "batch": os.environ.get("SAGEMAKER_BATCH")}), accept
"""


@pytest.fixture(scope="module")
def polyhost() -> Iterator[Batch]:
    with Emulator(EmulatorConfig(port=0)) as emulator:
        batch = Batch(emulator)
        batch.s3.put_object(Bucket="batch", Key="polyhost/model.tar.gz", Body=packed(**{"inference.py": SCRIPT}))
        yield batch


def _job(batch: Batch, frontend: str, name: str, objects: dict[str, bytes], **members: Any) -> dict[str, Any]:
    environment = {"POLYHOST_FRONTEND": frontend, "POLYHOST_ZYGOTES": "bare", "POLYHOST_MAX_WORKERS": "2"}
    batch.model(name, ModelDataUrl="s3://batch/polyhost/model.tar.gz", Environment=environment)
    batch.put(name, objects)
    batch.create(name, **members)
    return batch.wait(name)


@pytest.mark.parametrize("frontend", ["native", "mms"])
def test_a_payload_larger_than_that_of_an_invocation(polyhost: Batch, frontend: str) -> None:
    name = f"large-{frontend}"
    content = b"x" * (30 * MB)
    kind: dict[str, Any] = {"input": {"ContentType": "text/plain"}, "output": {"Accept": "application/json"}}
    job = _job(polyhost, frontend, name, {"object": content}, MaxPayloadInMB=40, **kind)
    assert job["TransformJobStatus"] == "Completed", job
    assert json.loads(polyhost.outputs(name)["object.out"]) == {"size": 30 * MB, "first": "x", "batch": "true"}
    # Without a limit the object comes by chunked coding, in one request.
    job = _job(polyhost, frontend, f"{name}-chunked", {"object": content}, MaxPayloadInMB=0, **kind)
    assert job["TransformJobStatus"] == "Completed", job
    assert json.loads(polyhost.outputs(f"{name}-chunked")["object.out"])["size"] == 30 * MB


@pytest.mark.parametrize("frontend", ["native", "mms"])
def test_records_of_an_object(polyhost: Batch, frontend: str) -> None:
    lines = [letter * 1000 for letter in "abcdefgh"]
    job = _job(
        polyhost,
        frontend,
        f"lines-{frontend}",
        {"object": "\n".join(lines).encode()},
        input={"SplitType": "Line", "ContentType": "text/plain"},
        output={"AssembleWith": "Line", "Accept": "application/json"},
        BatchStrategy="SingleRecord",
    )
    assert job["TransformJobStatus"] == "Completed", job
    found = [json.loads(line) for line in polyhost.outputs(f"lines-{frontend}")["object.out"].splitlines()]
    assert [(item["size"], item["first"]) for item in found] == [(1000, letter) for letter in "abcdefgh"]
