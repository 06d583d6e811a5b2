"""The memory limit of several containers where the driver limits each of them only."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from polyhost.emulator.hosting.drivers.process import ProcessDriver
from polyhost.emulator.hosting.instance import Instance
from polyhost.emulator.hosting.interfaces import Container, ContainerSpec, Launch
from polyhost.emulator.telemetry.recorder import Place
from tests.emulator.conftest import COMMAND
from tests.emulator.hosting.harness import (
    DriverWrapper,
    recorded,
    running_platform,
    upload,
    variant_spec,
)
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


class DriverOfSingleLimits(DriverWrapper):
    """Limits each container, as the Docker engine does."""

    limits_together = False

    async def start(self, launch: Launch) -> Container:
        return await super().start(replace(launch, shared_with=""))


async def test_the_container_that_uses_most_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyhost.emulator.hosting.memory_watch.PERIOD_S", 0.1)
    upload(tmp_path, "model")
    spec = variant_spec(tmp_path)
    modest, greedy = (
        ContainerSpec("small", f"file://{tmp_path}/archives/model", False, {"SMALL_MEGABYTES": megabytes}, name=name)
        for name, megabytes in (("modest", "100"), ("greedy", "140"))  # each fits, but not both
    )
    async with running_platform(tmp_path, DriverOfSingleLimits(ProcessDriver(COMMAND))) as given:
        platform = replace(given, memory_scale=200 / 8192)  # 200 MiB of ml.m5.large's 8 GiB
        place = Place("us-east-1", "e", "AllTraffic", f"i-{os.getpid():x}")
        instance = Instance(platform, place, replace(spec, containers=(modest, greedy)))
        await instance.start()
        try:
            await until(lambda: instance.containers[1].keeper.restarts)
            assert any(": greedy, with" in message for message in recorded(given, "failed"))
            assert instance.containers[0].keeper.restarts == 0
        finally:
            await instance.stop()
