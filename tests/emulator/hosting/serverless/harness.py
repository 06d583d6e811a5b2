"""Serverless fleets of small containers, whose calls wait for a file, without the emulator around them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from polyhost.emulator.hosting.interfaces import (
    ContainerResponse,
    ContainerSpec,
    Driver,
    InvocationRequest,
    Platform,
    ServerlessCapacity,
    VariantSpec,
)
from polyhost.emulator.hosting.serverless.fleet import ServerlessFleet
from tests.emulator.archives import archive
from tests.emulator.hosting.harness import DEADLINE_S, running_platform
from tests.support.waiting import until

REQUEST = InvocationRequest(b"?", {}, timeout_s=DEADLINE_S)


class Calls:
    """A fleet, its platform, and what most tests do with them. Calls wait until `release`."""

    def __init__(self, fleet: ServerlessFleet, platform: Platform, mark: Path) -> None:
        self.fleet = fleet
        self.platform = platform
        self._mark = mark

    def begin(self, count: int = 1, timeout_s: float = DEADLINE_S) -> list["asyncio.Task[ContainerResponse]"]:
        request = replace(REQUEST, timeout_s=timeout_s)
        return [asyncio.create_task(self.fleet.invoke(request)) for _ in range(count)]

    def release(self) -> None:
        """Let the calls be answered, those that come later too."""
        self._mark.touch()

    def hold(self) -> None:
        self._mark.unlink()

    async def one(self) -> int:
        """Return the id of the process that answers a call; `release` comes first."""
        return pid(await self.fleet.invoke(REQUEST))

    async def statuses(self) -> list[str]:
        return sorted(str(container["status"]) for container in await self.fleet.snapshot())

    async def until_statuses(self, *expected: str) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while await self.statuses() != sorted(expected):
                await asyncio.sleep(0.01)

    async def processes(self) -> list[int]:
        """Return the process ids of all containers."""
        return [container["pid"] for container in await self.fleet.snapshot() if container["pid"]]

    async def until_gone(self) -> None:
        """Return when no container is left, in the fleet or on the disk."""
        await self.until_statuses()
        await until(lambda: not list(self.platform.folder.iterdir()))


@asynccontextmanager
async def running(
    folder: Path,
    max_concurrency: int = 3,
    provisioned: int = 0,
    idle_s: float = 600.0,
    driver: Driver | None = None,
    settings: dict[str, Any] | None = None,
    **environment: Any,
) -> AsyncIterator[Calls]:
    """Run a fleet; when the block ends, nothing of it is left. `settings` are the model's."""
    mark = folder / "mark"
    (folder / "model.tar.gz").write_bytes(archive("one", invoke_mark=str(mark), **(settings or {})))
    async with running_platform(folder, driver) as given:
        platform = replace(given, serverless_idle_s=idle_s)
        platform.folder.mkdir()
        capacity = ServerlessCapacity(1024, max_concurrency, provisioned)
        fleet = ServerlessFleet(platform, "us-east-1", "e", serverless_spec(folder, capacity, **environment))
        await fleet.start()
        try:
            yield Calls(fleet, platform, mark)
        finally:
            await fleet.stop(drain_s=0)
            assert await fleet.snapshot() == []
            assert list(platform.folder.iterdir()) == []


def serverless_spec(folder: Path, capacity: ServerlessCapacity, **environment: Any) -> VariantSpec:
    variables = {name.upper(): str(value) for name, value in environment.items()}
    container = ContainerSpec("small", f"file://{folder}/model.tar.gz", False, variables)
    return VariantSpec("AllTraffic", (container,), "", 0, 1.0, 5 << 30, startup_timeout_s=30.0, serverless=capacity)


def pid(response: ContainerResponse) -> int:
    assert response.status == 200
    return int(json.loads(response.body)["pid"])
