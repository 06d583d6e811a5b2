"""A local SageMaker for test suites: tests take the fixture `sagemaker_local`.

def test_my_client(sagemaker_local):
    s3 = sagemaker_local.client("s3")
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from polyhost.emulator.config import DEFAULT_REGION, EmulatorConfig
from polyhost.emulator.server import Emulator


@dataclass(frozen=True)
class LocalSageMaker:
    """A running emulator. `url` is what AWS_ENDPOINT_URL takes."""

    url: str
    region: str
    _emulator: Emulator

    def client(self, service: str) -> Any:
        """A boto3 client for it, with credentials of its own: AWS itself is out of reach."""
        return self._emulator.client(service, self.region)


@pytest.fixture(scope="session")
def sagemaker_local_config() -> EmulatorConfig:
    """Override it for another driver, scale or command."""
    return EmulatorConfig(port=0)


@pytest.fixture(scope="session")
def sagemaker_local(sagemaker_local_config: EmulatorConfig) -> Iterator[LocalSageMaker]:
    """Started once for the session, on a free port; its containers end with it."""
    with Emulator(sagemaker_local_config) as emulator:
        yield LocalSageMaker(emulator.url, DEFAULT_REGION, emulator)
