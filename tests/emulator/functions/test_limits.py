"""Limits of initialization and of a region, calls of a function that is deleted, and a machine without namespaces."""

import asyncio
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from polyhost.emulator.functions.errors import TooManyRequests
from polyhost.emulator.functions.invocation import FunctionCall
from polyhost.emulator.functions.service import Functions
from polyhost.emulator.functions.spec import FunctionReference
from polyhost.processes import running_emulator
from tests.emulator.conftest import REGION
from tests.emulator.functions.harness import ClientsOf, Lambda
from tests.emulator.functions.test_lifecycle import runtimes
from tests.support.waiting import until, wait_for

# Writes a line to the file that its event names, then waits until the file is gone.
WAITING = """
    import pathlib, time

    def handler(event, context):
        path = pathlib.Path(event)
        path.write_text("began")
        while path.exists():
            time.sleep(0.02)
        return "ended"
"""


@pytest.fixture
def held(name: str) -> Iterator[Path]:
    """Return the path of a file that functions can see: their /tmp is their own."""
    path = Path("/var/tmp", name)
    yield path
    path.unlink(missing_ok=True)


def test_a_function_that_is_deleted_ends_its_call(functions: Lambda, name: str, held: Path) -> None:
    functions.create(name, WAITING)
    with ThreadPoolExecutor(2) as threads:
        call = threads.submit(functions.returned, name, str(held))
        wait_for(held.exists, "the beginning of the call")
        deleting = threads.submit(functions.client.delete_function, FunctionName=name)
        deleting.result()
        assert not call.done()
        held.unlink()
        assert call.result() == "ended"
    wait_for(lambda: runtimes(name) == [], "the end of the environment")


def test_a_regions_concurrency_is_limited(functions: Lambda, name: str, held: Path) -> None:
    arn = functions.create(name, WAITING)["FunctionArn"]
    other = functions.create(f"{name}-other", "def handler(event, context):\n    return 1\n")["FunctionArn"]
    with TemporaryDirectory(dir="/var/tmp") as folder:  # not below /tmp: functions have one of their own
        asyncio.run(_fill_a_region(arn, other, held, Path(folder), functions.emulator.url))
    assert runtimes(name) == [] and runtimes(f"{name}-other") == []


async def _fill_a_region(arn: str, other: str, held: Path, folder: Path, url: str) -> None:
    """Call a function in a region that allows one call at a time, and another one meanwhile."""
    service = Functions(folder, url, 60.0, lambda spec, stream, line: None, most=1)
    try:
        first = asyncio.create_task(
            service.invoke(FunctionReference.parse(arn, REGION), FunctionCall(arn, f'"{held}"'.encode()))
        )
        await until(held.exists)
        with pytest.raises(TooManyRequests) as raised:
            await service.invoke(FunctionReference.parse(other, REGION), FunctionCall(other, b"{}"))
        assert raised.value.members["Reason"] == "ConcurrentInvocationLimitExceeded"
        held.unlink()
        _, result = await first
        assert result.payload == b'"ended"'
        _, result = await service.invoke(FunctionReference.parse(other, REGION), FunctionCall(other, b"{}"))
        assert result.payload == b"1"
    finally:
        await service.close()


@pytest.mark.slow
def test_an_initialization_that_takes_too_long_is_begun_anew(functions: Lambda, name: str, held: Path) -> None:
    source = f"""
        import pathlib, time

        path = pathlib.Path({str(held)!r})
        if not path.exists():
            path.write_text("first")
            time.sleep(1000)

        def handler(event, context):
            return path.read_text()
    """
    functions.create(name, source, Timeout=120)
    assert functions.returned(name) == "first"
    wait_for(lambda: any(line.startswith("INIT_REPORT") for line in functions.log_lines(name)), "the report")
    (line,) = [line for line in functions.log_lines(name) if line.startswith("INIT_REPORT")]
    assert "Phase: init" in line and "Status: timeout" in line


@pytest.mark.slow
def test_functions_run_where_namespaces_cannot_be_made(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = tmp_path / "bin"
    commands.mkdir()
    for command in ("sh", "setpriv", "python3", "env"):
        found = shutil.which(command)
        assert found is not None
        (commands / command).symlink_to(found)
    monkeypatch.setenv("PATH", str(commands))
    with running_emulator(tmp_path) as emulator:
        functions = Lambda(ClientsOf(emulator.url))
        source = """
            import subprocess, sys, tempfile

            def handler(event, context):
                subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)
                return tempfile.gettempdir()
        """
        functions.create(name, source)
        temp = Path(functions.returned(name))
        assert temp != Path("/tmp") and temp.is_dir()
        assert "functions share /tmp" in (tmp_path / "emulator.log").read_text()
        assert len(runtimes(name)) >= 2
        functions.client.delete_function(FunctionName=name)
        assert runtimes(name) == [] and not temp.exists()
