"""The examples of endpoints with several containers or variants, run against the emulator as their docstrings say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from polyhost.processes import running_emulator
from tests.support.container import ROOT
from tests.support.emulator import boto3_client

REGION = "ap-northeast-2"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def _run(folder: Path, module: str) -> str:
    """Return what the example prints; it leaves nothing behind."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with running_emulator(folder) as emulator:
        environ = inherited | emulator.environ(REGION)
        command = [sys.executable, "-W", "ignore", "-m", module]
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        sagemaker = boto3_client(emulator.url, "sagemaker", REGION)
        assert sagemaker.list_endpoints()["Endpoints"] == []
        assert sagemaker.list_endpoint_configs()["EndpointConfigs"] == []
        assert sagemaker.list_models()["Models"] == []
    return done.stdout


def test_inference_pipeline(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    lines = _run(tmp_path, "examples.inference_pipeline").splitlines()
    assert [re.sub(r" \(.*", "", line) for line in lines] == [
        "5.1,3.5,1.4,0.2 -> setosa",
        "6.0,2.7,4.5,1.5 -> versicolor",
        "6.5,3.0,5.8,2.2 -> virginica",
    ]


def test_multi_container_endpoint(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    recognised = dict(re.findall(r"(\w+): (\d+) of 100 digits", _run(tmp_path, "examples.multi_container_endpoint")))
    assert set(recognised) == {"sklearn", "torch"}
    assert all(int(count) >= 90 for count in recognised.values())


def test_shadow_variant(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    first, *variants, last = _run(tmp_path, "examples.shadow_variant").splitlines()
    assert first == "answered by: production"
    counts = dict(re.findall(r"(\w+): (\d+) invocations, 0 errors, ", "\n".join(variants)))
    assert counts["production"] == "40"
    assert 0 < int(counts["shadow"]) < 40
    recognised = re.fullmatch(r"promoted: shadow recognises (\d+) of 100 digits", last)
    assert recognised is not None and int(recognised[1]) >= 90
