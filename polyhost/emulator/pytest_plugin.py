"""A local SageMaker for test suites: the fixture `sagemaker_local`.

    def test_my_client(sagemaker_local):
        s3 = sagemaker_local.client("s3")

pytest imports this module in every run in an environment that has polyhost (entry point `pytest11`), even where the
emulator's requirements are not installed. So it imports nothing of the emulator until a test asks for a fixture.
"""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

_REGION = "us-east-1"


@dataclass(frozen=True)
class EmulatedSageMaker:
    """A running emulator. `url` is the value for AWS_ENDPOINT_URL."""

    url: str
    region: str
    _emulator: Any

    @property
    def environ(self) -> dict[str, str]:
        """Return the variables that direct the clients of code under test to the emulator."""
        variables: dict[str, str] = _import("polyhost.aws_environ").aws_environ(self.url, self.region)
        return variables

    def client(self, service: str) -> Any:
        """Return a boto3 client of the emulator with dummy credentials, so that it cannot reach AWS itself."""
        return self._emulator.client(service, self.region)


@pytest.fixture(scope="session")
def sagemaker_local_config() -> Any:
    """Return the `EmulatorConfig` of `sagemaker_local`; override it for another driver, scale or command."""
    return _import("polyhost.emulator.config").EmulatorConfig(port=0)


@pytest.fixture(scope="session")
def sagemaker_local(sagemaker_local_config: Any) -> Iterator[EmulatedSageMaker]:
    """Run an emulator on a free port during the session; its containers end with it."""
    with _import("polyhost.emulator.server").Emulator(sagemaker_local_config) as emulator:
        yield EmulatedSageMaker(emulator.url, _REGION, emulator)


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        needed = (error.name or "a module").partition(".")[0]
        pytest.fail(f"sagemaker_local needs {needed}: pip install 'polyhost[emulator]'", pytrace=False)
