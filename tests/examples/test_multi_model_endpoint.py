"""The example `multi_model_endpoint`, run against the emulator as its docstring says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples.multi_model_endpoint import PREFIX
from polyhost.processes import RunningEmulator, running_emulator
from tests.support.container import ROOT, running
from tests.support.emulator import boto3_client

REGION = "ap-northeast-2"
# In a process of its own, which may have MXNet's warnings. One small network stands for all three.
MAKE_ARCHIVES = """
import sys
from pathlib import Path
from examples.multi_model_endpoint import archive
for name in ("resnet_18", "resnet_34", "squeezenet_v1.0"):
    archive(Path(sys.argv[1]), name, "squeezenet1_1")
"""


pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archives")
    subprocess.run([sys.executable, "-c", MAKE_ARCHIVES, folder], cwd=ROOT, check=True, capture_output=True)
    return folder


def run_the_example(archives: Path, emulator: RunningEmulator, *options: str) -> None:
    command = [sys.executable, "-m", "examples.multi_model_endpoint", "--deep", "34", "--data", str(archives), *options]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environ = inherited | emulator.environ(REGION)
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Number of models: 12" in done.stdout
    assert "100 calls of 12 models at random" in done.stdout
    assert "resnet_18_v2.tar.gz" in done.stdout


def test_example_runs_against_the_emulator(archives: Path, tmp_path: Path) -> None:
    with running_emulator(tmp_path) as emulator:
        run_the_example(archives, emulator)
        sagemaker = boto3_client(emulator.url, "sagemaker", REGION)
        for endpoint in sagemaker.list_endpoints()["Endpoints"]:  # the example does not wait for the deletion's end
            sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=endpoint["EndpointName"])
        assert sagemaker.list_endpoints()["Endpoints"] == []
        assert sagemaker.list_endpoint_configs()["EndpointConfigs"] == []
        assert sagemaker.list_models()["Models"] == []


def test_its_invocations_run_against_a_container_with_another_endpoint_url(
    archives: Path, tmp_path: Path, front: str
) -> None:
    """Only S3 is the emulator's: SageMaker has no endpoint, and the container fetches and loads by itself."""
    with running_emulator(tmp_path) as emulator:
        settings = {
            "SAGEMAKER_MULTI_MODEL": "",
            "POLYHOST_ZYGOTES": "mxnet",
            "POLYHOST_MODEL_STORE": f"s3://sagemaker-{REGION}-123456789012/{PREFIX}/",
            "POLYHOST_STATE_DIR": str(tmp_path),
            **emulator.environ(REGION),
        }
        with running(tmp_path, front, **settings) as container:
            run_the_example(archives, emulator, "--endpoint-url", f"http://127.0.0.1:{container.port}")
            names = {model["modelName"] for model in container.http.get("/models").json()["models"]}
            assert "resnet_18_v2.tar.gz" in names and len(names) == 13
        assert boto3_client(emulator.url, "sagemaker", REGION).list_models()["Models"] == []
