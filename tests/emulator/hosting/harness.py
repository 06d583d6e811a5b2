"""Instances and fleets of small containers, with model archives in a folder, without the emulator around them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from polyhost.emulator.hosting.container_client import session
from polyhost.emulator.hosting.drivers.process import ProcessDriver
from polyhost.emulator.hosting.faults import Faults
from polyhost.emulator.hosting.interfaces import (
    Container,
    ContainerResponse,
    ContainerSpec,
    Driver,
    InvocationRequest,
    Launch,
    Platform,
    VariantSpec,
)
from polyhost.emulator.telemetry.recorder import Recorder
from polyhost.model_cache.downloads import ModelSource
from polyhost.model_cache.interfaces import ObjectStore
from tests.emulator.archives import archive
from tests.emulator.conftest import COMMAND

DEADLINE_S = 60.0  # of a test that would otherwise never end; no result depends on it


def no_s3(region: str) -> ObjectStore:
    raise AssertionError(f"unexpected access to S3 in {region}")


class DriverWrapper:
    """A process driver whose `start` can be changed."""

    limits_together = True

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def check(self, image: str, multi_model: bool, among_others: bool = False) -> str:
        return await self._driver.check(image, multi_model, among_others)

    async def start(self, launch: Launch) -> Container:
        return await self._driver.start(launch)

    async def sweep(self, folder: Path) -> None:
        await self._driver.sweep(folder)

    async def close(self) -> None:
        await self._driver.close()


@asynccontextmanager
async def running_platform(folder: Path, driver: Driver | None = None) -> AsyncIterator[Platform]:
    async with session() as http:
        yield Platform(
            driver or ProcessDriver(COMMAND), ModelSource(no_s3), Recorder(), Faults(), http, folder / "instances"
        )


def upload(folder: Path, *names: str, **settings: Any) -> None:
    (folder / "archives").mkdir(exist_ok=True)
    for name in names:
        (folder / "archives" / name).write_bytes(archive(name, **settings))


def variant_spec(
    folder: Path, instances: int = 1, keeps_models: bool = True, volume_bytes: int = 1 << 30, **environment: Any
) -> VariantSpec:
    variables = {name.upper(): str(value) for name, value in environment.items()}
    container = ContainerSpec("small", f"file://{folder}/archives/", True, variables, keeps_models)
    return VariantSpec("AllTraffic", (container,), "ml.m5.large", instances, 1.0, volume_bytes, startup_timeout_s=30.0)


def request_for(model: str, timeout_s: float = DEADLINE_S) -> InvocationRequest:
    return InvocationRequest(b"?", {}, model, timeout_s=timeout_s)


def recorded(platform: Platform, kind: str) -> list[str]:
    """Return the models, or else messages, of the events of one kind."""
    return [event.model or event.message for event in platform.recorder.events if event.kind == kind]


def statuses(responses: list[ContainerResponse]) -> list[int]:
    return [response.status for response in responses]
