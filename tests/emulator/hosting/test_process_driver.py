"""Containers as processes: their limits, their output, and their end."""

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from polyhost.emulator.errors import ContainerError
from polyhost.emulator.hosting.container_client import ContainerClient, session
from polyhost.emulator.hosting.control_group import OwnControlGroup
from polyhost.emulator.hosting.drivers.process import ProcessDriver
from polyhost.emulator.hosting.interfaces import Launch
from polyhost.private_folder import private_parent
from tests.emulator.conftest import COMMAND
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

LIMIT = 256 << 20
# Starts a child that ignores SIGTERM as it does itself, then allocates EAT_MB.
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


async def test_a_container_serves_and_its_output_is_read(tmp_path: Path) -> None:
    lines: list[str] = []
    container = await ProcessDriver(COMMAND).start(_launch(tmp_path, lines))
    async with session() as http:
        client = ContainerClient(http, container.url)
        await until(lambda: lines)
        while not await client.ping():
            await asyncio.sleep(0.02)
    assert lines == ["small container started"]
    usage = await container.usage()
    assert usage is not None
    assert usage.memory_bytes > 1 << 20
    assert usage.cpu_s > 0
    await container.stop(5)
    assert await container.wait() == 0


async def test_a_container_gets_only_the_documented_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The emulator's own environment does not get in, above all its credentials."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mine")
    program = "import os, sys; print(sorted(os.environ), sys.argv[1:], os.environ['SAGEMAKER_MULTI_MODEL'])"
    lines: list[str] = []
    container = await ProcessDriver((sys.executable, "-c", program)).start(_launch(tmp_path, lines, OWN="1"))
    await container.wait()
    await until(lambda: lines)
    await container.stop(1)
    (line,) = lines
    assert "AWS_SECRET_ACCESS_KEY" not in line
    assert "'OWN'" in line and "'SAGEMAKER_BIND_TO_PORT'" in line and "'SAGEMAKER_BASE_DIR'" in line
    assert line.endswith("['serve'] true")


async def test_a_container_may_use_the_emulators_aws_unless_its_environment_says_otherwise(tmp_path: Path) -> None:
    program = "import os; print([os.environ[f'AWS_{name}'] for name in ('ENDPOINT_URL', 'ACCESS_KEY_ID', 'REGION')])"
    driver = ProcessDriver((sys.executable, "-c", program), aws_url="http://127.0.0.1:4566")
    lines: list[str] = []
    launch = replace(_launch(tmp_path, lines, AWS_ACCESS_KEY_ID="own"), region="eu-west-1")
    container = await driver.start(launch)
    await container.wait()
    await until(lambda: lines)
    await container.stop(1)
    assert lines == ["['http://127.0.0.1:4566', 'own', 'eu-west-1']"]


async def test_a_container_that_ignores_sigterm_is_killed_with_its_descendants(tmp_path: Path) -> None:
    lines: list[str] = []
    driver = ProcessDriver((sys.executable, "-c", EATER))
    container = await driver.start(_launch(tmp_path, lines, EAT_MB="1"))
    assert container.pid is not None
    await until(lambda: "eaten" in lines)
    family = [psutil.Process(container.pid), *psutil.Process(container.pid).children(recursive=True)]
    assert len(family) == 2
    await container.stop(0.2)
    assert await container.wait() == -signal.SIGKILL
    assert not psutil.wait_procs(family, timeout=60)[1]


@pytest.mark.parametrize("several", [False, True], ids=["one", "one of several"])
async def test_a_sweep_removes_what_a_killed_emulators_container_leaves(tmp_path: Path, several: bool) -> None:
    instance = tmp_path / f"i-{os.getpid():x}"
    folder = instance / "containers" / "a" if several else instance
    folder.mkdir(parents=True)
    driver = ProcessDriver(COMMAND)
    name = f"swept-{instance.name}"
    shared_with = f"{name}-all" if several else ""
    container = await driver.start(replace(_launch(folder, []), name=f"{name}-a-1", shared_with=shared_with))
    (noted,) = folder.glob("ph-*")
    run_dir = private_parent() / noted.name
    assert run_dir.is_dir()
    await container.kill()
    await container.wait()
    await driver.sweep(tmp_path)
    assert not run_dir.exists()
    assert not OwnControlGroup.named(f"{name}*")
    await container.stop(1)


async def test_memory_is_limited_if_a_control_group_can_be_made(tmp_path: Path) -> None:
    probe = OwnControlGroup.make(f"probe-{os.getpid()}", LIMIT)
    if probe is None:
        pytest.skip("a control group cannot be made here; that needs root")
    probe.remove()
    lines: list[str] = []
    driver = ProcessDriver((sys.executable, "-c", EATER))
    container = await driver.start(_launch(tmp_path, lines, EAT_MB="512"))
    assert await container.wait() == -signal.SIGKILL
    await container.stop(1)
    assert lines == ["eating"]


async def test_containers_of_one_instance_share_its_memory_limit(tmp_path: Path) -> None:
    probe = OwnControlGroup.make(f"probe-{os.getpid()}", LIMIT)
    if probe is None:
        pytest.skip("a control group cannot be made here; that needs root")
    probe.remove()
    shared = f"shared-{os.getpid()}-all"
    driver = ProcessDriver((sys.executable, "-c", EATER))
    containers = []
    for name in ("a", "b"):  # each fits, but not both
        (tmp_path / name).mkdir()
        launch = replace(_launch(tmp_path / name, [], EAT_MB="160"), name=f"{shared}-{name}", shared_with=shared)
        containers.append(await driver.start(launch))
    ends = [asyncio.create_task(container.wait()) for container in containers]
    done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    assert [end.result() for end in done] == [-signal.SIGKILL]
    killed, left = sorted(containers, key=lambda container: not ends[containers.index(container)].done())
    await killed.stop(1)
    usage = await left.usage()
    assert usage is not None and usage.memory_bytes > 0  # the group is still there, with the other container in it
    await left.stop(0.2)
    assert not OwnControlGroup.named(shared)
    for end in ends:
        await end


async def test_containers_of_one_instance_have_ports_of_their_own(tmp_path: Path) -> None:
    program = "import os; print(os.environ['SAGEMAKER_BIND_TO_PORT'], os.environ['SAGEMAKER_SAFE_PORT_RANGE'])"
    driver = ProcessDriver((sys.executable, "-c", program))
    taken: list[int] = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        lines: list[str] = []
        launch = replace(_launch(tmp_path / name, lines), name=f"ports-{name}-{os.getpid()}", shared_with="ports")
        container = await driver.start(launch)
        await until(lambda lines=lines: lines)  # type: ignore[misc]
        await container.stop(1)
        port, _, ports = lines[0].partition(" ")
        first, last = map(int, ports.split("-"))
        taken += [int(port), *range(first, last + 1)]
    assert len(taken) == len(set(taken)) == 22


async def test_a_command_that_does_not_exist_is_named_in_the_error(tmp_path: Path) -> None:
    launch = _launch(tmp_path, [])
    driver = ProcessDriver(("/no/such/command",))
    try:
        container = await driver.start(launch)
    except ContainerError as error:
        assert "/no/such/command" in str(error)
    else:  # a shell was started, which reports that itself
        assert await container.wait() != 0
        await container.stop(1)
