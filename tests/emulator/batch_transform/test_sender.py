"""Requests of a job to an instance that is not there."""

import asyncio
from pathlib import Path

import pytest

from polyhost.emulator.batch_transform.failures import ContainersLostError, FailureKind
from polyhost.emulator.batch_transform.sender import Sender
from polyhost.emulator.batch_transform.spec import ClientSpec
from polyhost.emulator.hosting.faults import Faults
from polyhost.emulator.hosting.instance import Instance
from polyhost.emulator.telemetry.recorder import Place, PlaceKind
from tests.emulator.hosting.harness import running_platform, variant_spec


def test_containers_that_do_not_come_back_end_the_job(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_platform(tmp_path) as platform:
            place = Place("us-east-1", "job", instance="i-1", kind=PlaceKind.TRANSFORM_JOB)
            instance = Instance(platform, place, variant_spec(tmp_path))  # it is never started
            sender = Sender(instance, {}, ClientSpec(), 0.0, Faults(), "job")
            with pytest.raises(ContainersLostError, match="its container did not come back within 0 seconds") as caught:
                await sender.send(b"x")
            assert caught.value.kind is FailureKind.ALGORITHM

    asyncio.run(scenario())
