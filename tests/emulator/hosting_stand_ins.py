"""Instances and fleets of small containers, with model archives in a folder, without the emulator around them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from polyhost.emulator.hosting.container_client import session
from polyhost.emulator.hosting.downloads import ModelSource
from polyhost.emulator.hosting.drivers.process import ProcessDriver
from polyhost.emulator.hosting.faults import Faults
from polyhost.emulator.hosting.instance import Platform
from polyhost.emulator.hosting.interfaces import Answer, Call, ContainerSpec, VariantSpec
from polyhost.emulator.telemetry.recorder import Recorder
from tests.emulator.archives import archive
from tests.emulator.conftest import COMMAND

DEADLINE_S = 15.0


def no_s3(region: str) -> Any:
    raise AssertionError(f"nothing here is in S3, least of all in {region}")


@asynccontextmanager
async def platform(folder: Path) -> AsyncIterator[Platform]:
    async with session() as http:
        yield Platform(ProcessDriver(COMMAND), ModelSource(no_s3), Recorder(), Faults(), http, folder / "instances")


def upload(folder: Path, *names: str, **settings: Any) -> None:
    (folder / "archives").mkdir(exist_ok=True)
    for name in names:
        (folder / "archives" / name).write_bytes(archive(name, **settings))


def spec(
    folder: Path, instances: int = 1, keeps_models: bool = True, volume_bytes: int = 1 << 30, **environment: Any
) -> VariantSpec:
    variables = {name.upper(): str(value) for name, value in environment.items()}
    container = ContainerSpec("small", f"file://{folder}/archives/", True, variables, keeps_models)
    return VariantSpec("AllTraffic", container, "ml.m5.large", instances, 1.0, volume_bytes, startup_timeout_s=10.0)


def call(model: str, timeout_s: float = 20.0) -> Call:
    return Call(b"?", {}, model, timeout_s=timeout_s)


def kinds(platform: Platform, kind: str) -> list[str]:
    """The models, or messages, of the events of one kind."""
    return [event.model or event.message for event in platform.recorder.events if event.kind == kind]


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.02)


def statuses(answers: list[Answer]) -> list[int]:
    return [answer.status for answer in answers]
