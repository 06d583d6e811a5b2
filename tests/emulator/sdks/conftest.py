"""AWS's own clients, in environments of their own, directed to an emulator by `polyhost emulator env` alone."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.emulator.conftest import REGION, Local
from tests.emulator.sdks.environments import javascript
from tests.support.command import POLYHOST

# What a developer's machine has, and would lead a client elsewhere.
_OWN = ("AWS_", "SAGEMAKER_", "PYTHON")


def environ_of(url: str) -> dict[str, str]:
    """Return the environment of a shell that has evaluated `polyhost emulator env`."""
    script = f'eval "$({POLYHOST} emulator env --url {url} --region {REGION})" && env -0'
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
    done = subprocess.run(["sh", "-c", script], env=inherited, capture_output=True, text=True, check=True)
    return dict(entry.split("=", 1) for entry in done.stdout.split("\0") if entry)


@pytest.fixture(scope="session")
def environ(local: Local) -> dict[str, str]:
    """Return the environment for clients of the emulator of small containers."""
    return environ_of(local.emulator.url)


@pytest.fixture(scope="session")
def node_folder() -> Path:
    return javascript()


@pytest.fixture
def unused(local: Local) -> Callable[[str], None]:
    """Return a function that fails if resources are left whose names have this prefix."""

    def check(prefix: str) -> None:
        sagemaker = local.sagemaker
        left = {
            "endpoints": sagemaker.list_endpoints(NameContains=prefix)["Endpoints"],
            "configurations": sagemaker.list_endpoint_configs(NameContains=prefix)["EndpointConfigs"],
            "models": sagemaker.list_models(NameContains=prefix)["Models"],
        }
        assert left == {"endpoints": [], "configurations": [], "models": []}

    return check
