"""Emulators in which a deployment's waits are short, or last until the test ends them by an alarm."""

from collections.abc import Iterator

import pytest

from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.server import Emulator
from tests.emulator.conftest import COMMAND, Local
from tests.emulator.hosting.deployment.harness import TIME_SCALE, Deployments


@pytest.fixture(scope="package")
def deployments() -> Iterator[Deployments]:
    with Emulator(EmulatorConfig(port=0, command=COMMAND, time_scale=TIME_SCALE)) as emulator:
        yield Deployments(Local(emulator))


@pytest.fixture
def patient(local: Local) -> Deployments:
    """Return deployments whose waits of an hour take an hour: an alarm ends them, however slow the machine is."""
    return Deployments(local)
