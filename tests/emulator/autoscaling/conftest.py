"""An emulator whose minutes take 0.6 s, shared by a module's tests."""

from collections.abc import Callable, Iterator

import pytest

from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.server import Emulator
from tests.emulator.autoscaling.harness import INSTANCES, TIME_SCALE, ScaledEndpoint
from tests.emulator.conftest import COMMAND


@pytest.fixture(scope="module")
def scaled_emulator() -> Iterator[Emulator]:
    with Emulator(EmulatorConfig(port=0, command=COMMAND, time_scale=TIME_SCALE)) as emulator:
        yield emulator


@pytest.fixture
def scaled(scaled_emulator: Emulator) -> Iterator[Callable[..., ScaledEndpoint]]:
    """Make endpoints, which are deleted after the test."""
    made: list[ScaledEndpoint] = []

    def make(name: str, dimension: str = INSTANCES) -> ScaledEndpoint:
        made.append(ScaledEndpoint(scaled_emulator, name, dimension))
        return made[-1]

    yield make
    for endpoint in made:
        endpoint.delete()
