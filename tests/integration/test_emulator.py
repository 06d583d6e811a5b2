"""The local SageMaker with real containers, through plain boto3: eviction under real limits, a container's death."""

import io
import json
import os
import random
import signal
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from polyhost.processes import RunningEmulator, running_emulator
from tests.support.emulator import boto3_client
from tests.support.waiting import wait_for

REGION = "ap-northeast-2"
BUCKET = "sagemaker-models"
PREFIX = "many"
# Takes some memory, as weights do, and returns what only this model knows.
SCRIPT = """
import json
import numpy as np

def model_fn(model_dir):
    with open(model_dir + "/settings.json") as file:
        settings = json.load(file)
    return settings["answer"], np.ones(settings["megabytes"] << 17)

def input_fn(body, content_type):
    return body

def predict_fn(data, model):
    return {"answer": model[0], "ballast": float(model[1][-1])}

def output_fn(prediction, accept):
    return json.dumps(prediction), "application/json"
"""

YIELDING = """
import time
from pathlib import Path

def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept):
    for number in range(3):
        yield f"{number};"
        while not Path(body.decode(), f"has-{number}").exists():
            time.sleep(0.005)
"""


class LocalSageMaker:
    """A `polyhost emulator` process, and clients for it."""

    def __init__(self, emulator: RunningEmulator) -> None:
        self.front = "mms"  # of the containers of models created from now on
        self.url = emulator.url
        self.log = emulator.process.log
        self.s3 = boto3_client(self.url, "s3", REGION)
        self.sagemaker = boto3_client(self.url, "sagemaker", REGION)
        self.runtime = boto3_client(self.url, "sagemaker-runtime", REGION)

    def upload(self, name: str, megabytes: int = 1, script: str = SCRIPT) -> None:
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz") as archive:
            settings = json.dumps({"answer": name, "megabytes": megabytes})
            for path, text in (("inference.py", script), ("settings.json", settings)):
                member = tarfile.TarInfo(path)
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
        self.s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}/{name}", Body=content.getvalue())

    def host(self, name: str, instance_type: str, count: int, image: str = "polyhost", only: str | None = None) -> None:
        """Create an endpoint in service: a multi-model one, or one for the single model `only`."""
        container = {
            "Image": image,
            "Mode": "SingleModel" if only else "MultiModel",
            "ModelDataUrl": f"s3://{BUCKET}/{PREFIX}/{only or ''}",
            "Environment": {"POLYHOST_FRONTEND": self.front},
        }
        self.sagemaker.create_model(
            ModelName=name, PrimaryContainer=container, ExecutionRoleArn="arn:aws:iam::123456789012:role/test"
        )
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": name,
            "InstanceType": instance_type,
            "InitialInstanceCount": count,
        }
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        waiter = self.sagemaker.get_waiter("endpoint_in_service")
        waiter.wait(EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})

    def invoke(self, endpoint: str, model: str) -> str:
        response = self.runtime.invoke_endpoint(
            EndpointName=endpoint, TargetModel=model, ContentType="application/octet-stream", Body=b"?"
        )
        return str(json.loads(response["Body"].read())["answer"])

    def instances(self, endpoint: str) -> list[dict[str, Any]]:
        state = httpx.get(f"{self.url}/_polyhost/state", timeout=10).json()
        (found,) = [item for item in state["endpoints"] if item["name"] == endpoint]
        return [instance for variant in found["variants"] for instance in variant["instances"]]


@contextmanager
def running(folder: Path, *options: str) -> Iterator[LocalSageMaker]:
    """Run an emulator, with a bucket for models, while the block runs."""
    with running_emulator(folder, *options) as emulator:
        local = LocalSageMaker(emulator)
        local.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield local


@pytest.fixture(scope="module")
def local(front: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSageMaker]:
    with running(tmp_path_factory.mktemp("emulator"), "--memory-scale", "0.25") as started:
        started.front = front
        yield started


def invoke_more_than_fits(local: LocalSageMaker, image: str = "polyhost") -> None:
    """Invoke twelve models, of which 2 GiB hold four or five beside Java and the zygotes."""
    models = [f"ballast-{number}.tar.gz" for number in range(12)]
    for model in models:
        local.upload(model, megabytes=150)
    local.host("evicting", "ml.m5.large", 1, image)
    choice = random.Random(7)
    wanted = models + choice.choices(models, k=30)
    assert [local.invoke("evicting", model) for model in wanted] == wanted
    (instance,) = local.instances("evicting")
    loaded = [model for model in instance["models"] if model["state"] == "loaded"]
    assert 1 <= len(loaded) < len(models)
    assert instance["restarts"] == 0
    assert 300 << 20 < instance["memory_used"] <= instance["memory_limit"] == 2 << 30
    local.sagemaker.delete_endpoint(EndpointName="evicting")


def kill_under_load(local: LocalSageMaker, image: str = "polyhost") -> None:
    models = [f"small-{number}.tar.gz" for number in range(4)]
    for model in models:
        local.upload(model, megabytes=1)
    local.host("killed", "ml.m5.xlarge", 2, image)
    for model in models:
        local.invoke("killed", model)
    victim = local.instances("killed")[0]
    wrong: list[str] = []
    stop = threading.Event()
    query = [0] * 4

    def client(number: int) -> None:
        choice = random.Random(number)
        while not stop.is_set():
            model = choice.choice(models)
            try:
                if local.invoke("killed", model) != model:
                    wrong.append(f"{model} got another's response")
            except ClientError as error:
                wrong.append(str(error))
            query[number] += 1

    clients = [threading.Thread(target=client, args=(number,)) for number in range(len(query))]
    for thread in clients:
        thread.start()
    try:
        wait_for(lambda: min(query) >= 10, "requests to flow")
        os.kill(victim["pid"], signal.SIGKILL)
        before = list(query)
        wait_for(lambda: all(now >= then + 20 for now, then in zip(query, before, strict=True)), "requests to go on")
        wait_for(lambda: _restarted(local, victim), "the container to come back", 60)
        before = list(query)
        wait_for(lambda: all(now >= then + 20 for now, then in zip(query, before, strict=True)), "requests to go on")
    finally:
        stop.set()
        for thread in clients:
            thread.join()
    # Each client has at most one request in flight when the container dies.
    assert len(wrong) <= len(clients), wrong
    assert all("(ModelError)" in error for error in wrong), wrong
    local.sagemaker.delete_endpoint(EndpointName="killed")


def test_models_that_do_not_fit_together_are_all_served(local: LocalSageMaker) -> None:
    invoke_more_than_fits(local)


def test_killed_container_fails_only_its_running_requests(local: LocalSageMaker) -> None:
    kill_under_load(local)


def test_streamed_response_is_an_event_stream(local: LocalSageMaker, tmp_path: Path) -> None:
    """Use a single-model endpoint: the API takes no TargetModel. Behind MMS the response is one chunk.

    The model yields a chunk when the one before it has arrived.
    """
    local.upload("yielding.tar.gz", script=YIELDING)
    local.host("yielding", "ml.m5.large", 1, only="yielding.tar.gz")

    if local.front == "mms":
        for number in range(3):
            (tmp_path / f"has-{number}").touch()

    response = local.runtime.invoke_endpoint_with_response_stream(
        EndpointName="yielding", ContentType="text/plain", Body=str(tmp_path).encode()
    )
    chunks = []
    for number, event in enumerate(response["Body"]):
        chunks.append(event["PayloadPart"]["Bytes"])
        (tmp_path / f"has-{number}").touch()

    assert chunks == ([b"0;", b"1;", b"2;"] if local.front == "native" else [b"0;1;2;"])
    local.sagemaker.delete_endpoint(EndpointName="yielding")


def _restarted(local: LocalSageMaker, victim: dict[str, Any]) -> bool:
    (now,) = [instance for instance in local.instances("killed") if instance["id"] == victim["id"]]
    return bool(now["restarts"] == 1 and now["status"] == "InService")
