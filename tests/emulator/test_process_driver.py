"""Containers as processes: limited, heard, and gone without a trace."""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import psutil
import pytest

from polyhost.emulator.errors import ContainerError
from polyhost.emulator.hosting.container_client import ContainerClient, session
from polyhost.emulator.hosting.control_group import OwnControlGroup
from polyhost.emulator.hosting.drivers.process import ProcessDriver
from polyhost.emulator.hosting.interfaces import Launch
from tests.emulator.conftest import COMMAND

LIMIT = 256 << 20
# Starts a process of its own, which ignores SIGTERM, then eats what it is told to.
EATER = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    while True: time.sleep(1)
print("eating", flush=True)
food = b"x" * (int(os.environ["EAT_MB"]) << 20)
print("eaten", flush=True)
while True: time.sleep(1)
"""


def _launch(folder: Path, lines: list[str], **environment: str) -> Launch:
    (folder / "models").mkdir(exist_ok=True)
    return Launch(f"test-{folder.name[:20]}-{os.getpid()}", "image", environment, folder, True, LIMIT, lines.append)


def _run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 60))


async def _until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0.02)


def test_a_container_serves_and_is_heard(tmp_path: Path) -> None:
    async def work() -> None:
        lines: list[str] = []
        container = await ProcessDriver(COMMAND).start(_launch(tmp_path, lines))
        async with session() as http:
            client = ContainerClient(http, container.url)
            await _until(lambda: lines)
            while not await client.ping():
                await asyncio.sleep(0.02)
        assert lines == ["small container started"]
        usage = await container.usage()
        assert usage is not None
        assert usage.memory_bytes > 1 << 20
        assert usage.cpu_s > 0
        await container.stop(5)
        assert await container.wait() == 0

    _run(work)


def test_its_environment_is_the_contracts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the emulator's own environment gets in, credentials least of all."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mine")
    program = "import os, sys; print(sorted(os.environ), sys.argv[1:], os.environ['SAGEMAKER_MULTI_MODEL'])"

    async def work() -> None:
        lines: list[str] = []
        container = await ProcessDriver((sys.executable, "-c", program)).start(_launch(tmp_path, lines, OWN="1"))
        await container.wait()
        await _until(lambda: lines)
        await container.stop(1)
        (line,) = lines
        assert "AWS_SECRET_ACCESS_KEY" not in line
        assert "'OWN'" in line and "'SAGEMAKER_BIND_TO_PORT'" in line and "'SAGEMAKER_BASE_DIR'" in line
        assert line.endswith("['serve'] true")

    _run(work)


def test_nothing_is_left_of_one_that_will_not_end(tmp_path: Path) -> None:
    async def work() -> None:
        lines: list[str] = []
        driver = ProcessDriver((sys.executable, "-c", EATER))
        container = await driver.start(_launch(tmp_path, lines, EAT_MB="1"))
        assert container.pid is not None
        await _until(lambda: "eaten" in lines)
        family = [psutil.Process(container.pid), *psutil.Process(container.pid).children(recursive=True)]
        assert len(family) == 2
        await container.stop(0.2)
        assert await container.wait() == -signal.SIGKILL
        assert not psutil.wait_procs(family, timeout=5)[1]

    _run(work)


def test_the_folder_for_its_sockets_is_known_to_who_sweeps_after_a_killed_emulator(tmp_path: Path) -> None:
    async def work() -> None:
        instance = tmp_path / "i-1"
        instance.mkdir()
        driver = ProcessDriver(COMMAND)
        container = await driver.start(_launch(instance, []))
        (noted,) = instance.glob("ph-*")
        run_dir = Path(tempfile.gettempdir(), noted.name)
        assert run_dir.is_dir()
        await container.kill()
        await container.wait()
        await driver.sweep(tmp_path)
        assert not run_dir.exists()
        await container.stop(1)

    _run(work)


def test_memory_is_limited_where_a_control_group_can_be_made(tmp_path: Path) -> None:
    probe = OwnControlGroup.make(f"probe-{os.getpid()}", LIMIT)
    if probe is None:
        pytest.skip("no control group can be made here; that needs root")
    probe.remove()

    async def work() -> None:
        lines: list[str] = []
        driver = ProcessDriver((sys.executable, "-c", EATER))
        container = await driver.start(_launch(tmp_path, lines, EAT_MB="512"))
        assert await container.wait() == -signal.SIGKILL
        await container.stop(1)
        assert lines == ["eating"]

    _run(work)


def test_a_command_that_does_not_exist_is_named(tmp_path: Path) -> None:
    async def work() -> None:
        launch = _launch(tmp_path, [])
        driver = ProcessDriver(("/no/such/command",))
        try:
            container = await driver.start(launch)
        except ContainerError as error:
            assert "/no/such/command" in str(error)
        else:  # a shell stands in between, and says so itself
            assert await container.wait() != 0
            await container.stop(1)

    _run(work)
