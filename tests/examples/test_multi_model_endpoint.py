"""The example `multi_model_endpoint`, run against the emulator as its docstring says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from polyhost.processes import running_emulator
from tests.support.container import ROOT
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


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_example_runs_against_the_emulator(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", MAKE_ARCHIVES, tmp_path], cwd=ROOT, check=True, capture_output=True)
    command = [sys.executable, "-m", "examples.multi_model_endpoint", "--deep", "34", "--data", str(tmp_path)]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with running_emulator(tmp_path) as emulator:
        environ = inherited | emulator.environ(REGION)
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert "Number of models: 12" in done.stdout
        assert "100 calls of 12 models at random" in done.stdout
        assert "resnet_18_v2.tar.gz" in done.stdout
        sagemaker = boto3_client(emulator.url, "sagemaker", REGION)
        for endpoint in sagemaker.list_endpoints()["Endpoints"]:  # the example does not wait for the deletion's end
            sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=endpoint["EndpointName"])
        assert sagemaker.list_endpoints()["Endpoints"] == []
        assert sagemaker.list_endpoint_configs()["EndpointConfigs"] == []
        assert sagemaker.list_models()["Models"] == []
