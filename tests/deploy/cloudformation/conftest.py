"""An emulator in which minutes of a deployment are seconds, and images are small containers, two of which are bad."""

import uuid
from collections.abc import Iterator

import pytest

from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.server import Emulator
from tests.deploy.cloudformation.harness import DeployedStack
from tests.emulator.conftest import COMMAND, Local
from tests.emulator.sdks.conftest import environ_of

IMAGES = {"*:ends": ("sh", "-c", "echo it cannot go on; exit 3"), "*:fails": ("env", "SMALL_STATUS=500", *COMMAND)}


@pytest.fixture(scope="module")
def hasty_local() -> Iterator[Local]:
    with Emulator(EmulatorConfig(port=0, command=COMMAND, image_commands=IMAGES, time_scale=0.01)) as emulator:
        yield Local(emulator)


@pytest.fixture
def stack(hasty_local: Local) -> Iterator[DeployedStack]:
    name = f"t-{uuid.uuid4().hex[:10]}"
    hasty_local.upload(name, "one", "two")
    deployed = DeployedStack(hasty_local, name, environ_of(hasty_local.emulator.url))
    yield deployed
    deployed.delete()
