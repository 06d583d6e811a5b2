"""Examples, run against the emulator as their docstrings say."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from polyhost.processes import running_emulator
from tests.support.container import ROOT
from tests.support.emulator import boto3_client

REGION = "ap-northeast-2"


def run_example(folder: Path, module: str, *options: str, arguments: Sequence[str] = ()) -> str:
    """Return what the example prints; it leaves nothing behind. The options are the emulator's."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with running_emulator(folder, *options) as emulator:
        environ = inherited | emulator.environ(REGION)
        command = [sys.executable, "-W", "ignore", "-m", module, *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        sagemaker = boto3_client(emulator.url, "sagemaker", REGION)
        assert sagemaker.list_endpoints()["Endpoints"] == []
        assert sagemaker.list_endpoint_configs()["EndpointConfigs"] == []
        assert sagemaker.list_models()["Models"] == []
    return done.stdout
