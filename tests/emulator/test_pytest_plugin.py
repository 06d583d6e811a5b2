"""The fixture for other people's test suites, in a suite of its own."""

import subprocess
import sys
from pathlib import Path

from tests.emulator.conftest import COMMAND

ROOT = Path(__file__).parents[2]
SUITE = """
import pytest
from polyhost.emulator.config import EmulatorConfig

pytest_plugins = ["polyhost.emulator.pytest_plugin"]

@pytest.fixture(scope="session")
def sagemaker_local_config():
    return EmulatorConfig(port=0, command={command!r})

def test_a_bucket(sagemaker_local):
    s3 = sagemaker_local.client("s3")
    s3.create_bucket(Bucket="mine")
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["mine"]
    assert sagemaker_local.client("sagemaker").list_endpoints()["Endpoints"] == []
"""


def test_the_fixture_works_in_another_suite(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(SUITE.format(command=COMMAND))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
