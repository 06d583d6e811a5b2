"""The docker driver removes its containers."""

import asyncio
from pathlib import Path

import psutil
import pytest

from polyhost.emulator.hosting.drivers.docker import DockerDriver
from polyhost.emulator.hosting.interfaces import Launch
from tests.image.engine import BUILD_SECONDS, docker

pytestmark = pytest.mark.image


@pytest.mark.timeout(BUILD_SECONDS)
def test_cancelled_start_leaves_no_container(sklearn_image: str, tmp_path: Path) -> None:
    name = f"cancelled-{tmp_path.name}".lower()

    async def scenario() -> None:
        driver = DockerDriver()
        await driver.open()
        try:
            (tmp_path / "models").mkdir()
            launch = Launch(name, sklearn_image, {}, tmp_path, True, 1 << 30, lambda _: None)
            start = asyncio.create_task(driver.start(launch))
            await asyncio.sleep(0.05)  # `docker run` has been called
            start.cancel()
            with pytest.raises(asyncio.CancelledError):
                await start
        finally:
            await driver.close()

    asyncio.run(scenario())
    psutil.wait_procs(psutil.Process().children(), timeout=30)  # a `docker run` that still runs
    assert not docker("ps", "--all", "--quiet", "--filter", f"name={name}").stdout
