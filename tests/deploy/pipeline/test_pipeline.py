"""The pipeline's script, run as a build machine runs it: a rehearsal of its own, and deployments to an emulator."""

import os
import shlex
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.server import Emulator
from tests.emulator.archives import archive
from tests.emulator.conftest import COMMAND, Local
from tests.emulator.sdks.conftest import environ_of
from tests.support.container import ROOT

pytestmark = pytest.mark.slow

PIPELINE = ROOT / "deploy" / "pipeline" / "pipeline"
PARAMETERS = "# a comment\n\nModelBucket=BUCKET\nModelPrefix=models/\nStepSeconds=60\nTerminationSeconds=60\n"
ENDS = ("sh", "-c", "echo it cannot go on; exit 3")


@dataclass
class Pipeline:
    """The script with its variables, in a folder of its own."""

    folder: Path
    environ: dict[str, str]

    def run(self, *steps: str, code: int = 0, **variables: str) -> str:
        """Run steps, and return what the script says."""
        environ = self.environ | variables
        done = subprocess.run([PIPELINE, *steps], env=environ, capture_output=True, text=True, timeout=500)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    name = f"p-{uuid.uuid4().hex[:10]}"
    (tmp_path / "parameters.env").write_text(PARAMETERS.replace("BUCKET", name))
    for folder in ("models", "requests"):
        (tmp_path / folder).mkdir()
    for model in ("one", "two"):
        (tmp_path / "models" / f"{model}.tar.gz").write_bytes(archive(model))
        (tmp_path / "requests" / f"{model}.tar.gz.json").write_text('{"instances": []}')
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {
        "PATH": tools,
        "STACK_NAME": name,
        "IMAGE_TAG": "v1",
        "PARAMETER_FILE": str(tmp_path / "parameters.env"),
        "SMOKE_REQUESTS": str(tmp_path / "requests"),
        "MODELS": str(tmp_path / "models"),
    }
    return Pipeline(tmp_path, inherited | own)


@pytest.fixture(scope="module")
def account() -> Iterator[Local]:
    """Return an emulator that stands for AWS."""
    config = EmulatorConfig(port=0, command=COMMAND, image_commands={"*:ends": ENDS}, time_scale=0.01)
    with Emulator(config) as emulator:
        yield Local(emulator)


def test_rehearsal(pipeline: Pipeline) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    emulator = f"polyhost emulator --command {shlex.quote(shlex.join(COMMAND))}"
    script = pipeline.folder / "emulator"
    script.write_text(f'#!/bin/sh\nexec {emulator} "$@"\n')
    script.chmod(0o755)
    said = pipeline.run("rehearse", EMULATOR=str(script), EMULATOR_PORT=port)
    assert said.count("one.tar.gz answers:") == said.count("two.tar.gz answers:") == 2
    assert f"deleting {pipeline.environ['STACK_NAME']}" in said
    with socket.socket() as gone:
        assert gone.connect_ex(("127.0.0.1", int(port))) != 0


def test_deployment_and_an_image_that_does_not_start(pipeline: Pipeline, account: Local) -> None:
    name = pipeline.environ["STACK_NAME"]
    aws: dict[str, Any] = {
        key: value for key, value in environ_of(account.emulator.url).items() if key.startswith("AWS_")
    }
    s3 = account.emulator.client("s3", aws["AWS_REGION"])
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": aws["AWS_REGION"]})
    for model in ("one", "two"):
        s3.put_object(Bucket=name, Key=f"models/{model}.tar.gz", Body=archive(model))
    assert "one.tar.gz answers:" in pipeline.run("deploy", **aws)
    said = pipeline.run("deploy", code=1, IMAGE_TAG="ends", **aws)
    assert "did not pass the ping health check" in said
    assert "the endpoint serves what it served before" in said
    found = account.emulator.client("cloudformation", aws["AWS_REGION"]).describe_stacks(StackName=name)["Stacks"][0]
    assert found["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "one.tar.gz answers:" in pipeline.run("deploy", **aws)


@pytest.mark.parametrize(
    ("steps", "variables", "code", "message"),
    [
        (["deploy"], {"STACK_NAME": ""}, 2, "STACK_NAME is not set"),
        (["fly"], {}, 2, "unknown step 'fly'"),
        (["deploy"], {"PARAMETER_FILE": "/none"}, 1, "cannot read the parameters in '/none'"),
        (["rehearse"], {"EMULATOR": "false"}, 1, "the emulator did not start"),
    ],
)
def test_bad_input(pipeline: Pipeline, steps: list[str], variables: dict[str, Any], code: int, message: str) -> None:
    assert message in pipeline.run(*steps, code=code, **variables)


def test_a_line_that_is_no_parameter(pipeline: Pipeline) -> None:
    (pipeline.folder / "parameters.env").write_text("nonsense\n")
    assert "'nonsense' in" in pipeline.run("deploy", code=1)


@pytest.mark.parametrize("name", ["github-workflow.yaml", "buildspec.yaml"])
def test_both_call_the_script_with_steps_that_it_has(name: str) -> None:
    content = yaml.safe_load((PIPELINE.parent / name).read_text())
    lines = _commands(content)
    called = [words[1:] for line in lines if (words := shlex.split(line))[:1] == ["deploy/pipeline/pipeline"]]
    steps = [step for words in called for step in words]
    assert steps == ["rehearse", "image", "deploy"]


def _commands(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [line for value in node.values() for line in _commands(value)]
    if isinstance(node, list):
        return [line for item in node for line in _commands(item)]
    return [node] if isinstance(node, str) else []
