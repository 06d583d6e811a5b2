"""The pytest plugin: its fixtures in a test suite that is not ours, with and without the emulator's requirements."""

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

from tests.emulator.conftest import COMMAND

PLUGIN = "polyhost.emulator.pytest_plugin"
SUITE = f"""
import pytest

@pytest.fixture(scope="session")
def sagemaker_local_config():
    from polyhost.emulator.config import EmulatorConfig
    return EmulatorConfig(port=0, command={COMMAND!r}, time_scale=0.01)

def test_bucket(sagemaker_local):
    s3 = sagemaker_local.client("s3")
    s3.create_bucket(Bucket="mine")
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["mine"]
    assert sagemaker_local.client("sagemaker").list_endpoints()["Endpoints"] == []

def test_environ(sagemaker_local, monkeypatch):
    import boto3
    for name, value in sagemaker_local.environ.items():
        monkeypatch.setenv(name, value)
    assert boto3.client("sagemaker").list_models()["Models"] == []

def test_serverless_endpoint(sagemaker_local):
    sagemaker = sagemaker_local.client("sagemaker")
    role = "arn:aws:iam::123456789012:role/test"
    sagemaker.create_model(ModelName="m", PrimaryContainer={{"Image": "i"}}, ExecutionRoleArn=role)
    capacity = {{"MemorySizeInMB": 1024, "MaxConcurrency": 1}}
    variant = {{"VariantName": "v", "ModelName": "m", "ServerlessConfig": capacity}}
    sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="e")
    (seen,) = sagemaker.describe_endpoint(EndpointName="e")["ProductionVariants"]
    assert seen["CurrentServerlessConfig"] == capacity

def test_canary(sagemaker_local):
    sagemaker = sagemaker_local.client("sagemaker")
    routing = {{
        "Type": "CANARY",
        "WaitIntervalInSeconds": 60,
        "CanarySize": {{"Type": "CAPACITY_PERCENT", "Value": 50}},
    }}
    policy = {{"BlueGreenUpdatePolicy": {{"TrafficRoutingConfiguration": routing}}}}
    sagemaker.update_endpoint(EndpointName="e", EndpointConfigName="c", DeploymentConfig=policy)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="e")
    seen = sagemaker.describe_endpoint(EndpointName="e")
    assert seen["LastDeploymentConfig"] == policy and "FailureReason" not in seen
"""
# As where the extra `emulator` is not installed.
WITHOUT_EXTRA = """
import sys
sys.modules.update(aiohttp=None, boto3=None, moto=None, starlette=None)
"""
WHAT_IT_IMPORTS = f"""
import sys
import pytest
before = set(sys.modules)
import {PLUGIN}
print(*sorted(set(sys.modules) - before))
"""


def run_pytest(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder, with the plugin as its entry point would load it."""
    installed = any(found.value == PLUGIN for found in entry_points(group="pytest11"))
    plugin = [] if installed else ["-p", PLUGIN]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, str(folder)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=500)


def test_fixture_works_in_another_suite(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(SUITE)
    done = run_pytest(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


def test_missing_extra_fails_the_test_that_uses_the_fixture(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(WITHOUT_EXTRA)
    (tmp_path / "test_mine.py").write_text("def test_other(): pass\ndef test_mine(sagemaker_local): pass\n")
    done = run_pytest(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 passed, 1 error" in done.stdout
    remedy = r"needs (aiohttp|boto3|moto|starlette): pip install 'polyhost\[emulator\]'"
    assert re.search(remedy, done.stdout), done.stdout


def test_plugin_imports_nothing_of_the_emulator() -> None:
    """Every pytest run in an environment with polyhost pays for this import."""
    done = subprocess.run([sys.executable, "-c", WHAT_IT_IMPORTS], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["polyhost", "polyhost.emulator", PLUGIN]
