"""An emulator in which a minute of an alarm takes 0.6 s."""

from collections.abc import Iterator

import pytest

from tests.emulator.alarms.harness import AlarmHarness, running_alarms


@pytest.fixture(scope="module")
def alarms() -> Iterator[AlarmHarness]:
    with running_alarms() as harness:
        yield harness
