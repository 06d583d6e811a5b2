"""An emulator that is killed while it has serverless containers, and the next one with the same state."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from polyhost.emulator.hosting.control_group import OwnControlGroup
from polyhost.processes import RunningEmulator, running_emulator
from tests.emulator.archives import archive
from tests.emulator.conftest import COMMAND, ROLE
from tests.support.emulator import boto3_client
from tests.support.waiting import wait_for

DEADLINE_S = 60.0


def containers(emulator: RunningEmulator) -> list[dict[str, Any]]:
    state = httpx.get(f"{emulator.dashboard_url}state", trust_env=False).json()
    return [found for endpoint in state["endpoints"] for found in endpoint["variants"][0]["instances"]]


def create_endpoint(sagemaker: Any, folder: Path) -> None:
    (folder / "m.tar.gz").write_bytes(archive("m", invoke_mark=str(folder / "mark")))
    environment = {"SMALL_HOLD": str(folder / "hold")}
    container = {"Image": "i", "ModelDataUrl": f"file://{folder}/m.tar.gz", "Environment": environment}
    sagemaker.create_model(ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    capacity = {"MemorySizeInMB": 1024, "MaxConcurrency": 3, "ProvisionedConcurrency": 1}
    variant = {"VariantName": "v", "ModelName": "m", "ServerlessConfig": capacity}
    sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="killed", EndpointConfigName="c")


def call(emulator: RunningEmulator) -> Any:
    with suppress(BotoCoreError, ClientError):  # of calls that the emulator's end breaks off
        return boto3_client(emulator.url, "sagemaker-runtime").invoke_endpoint(EndpointName="killed", Body=b"?")


def wait_until_in_service(emulator: RunningEmulator) -> None:
    waiter = boto3_client(emulator.url, "sagemaker").get_waiter("endpoint_in_service")
    waiter.wait(EndpointName="killed", WaiterConfig={"Delay": 1, "MaxAttempts": 120})


def statuses(emulator: RunningEmulator) -> list[str]:
    return sorted(container["status"] for container in containers(emulator))


@pytest.mark.slow
def test_nothing_is_left_of_warm_busy_and_starting_containers(
    tmp_path: Path, short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(short_dir))  # emulators of other tests must not clean up first
    options = ("--state", str(tmp_path / "state"), "--command", " ".join(COMMAND))
    mark, hold = tmp_path / "mark", tmp_path / "hold"
    with ThreadPoolExecutor(3) as pool:
        with running_emulator(tmp_path, *options) as emulator:
            create_endpoint(boto3_client(emulator.url, "sagemaker"), tmp_path)
            wait_until_in_service(emulator)
            calls = [pool.submit(call, emulator) for _ in range(2)]
            wait_for(lambda: statuses(emulator) == ["Busy", "Busy"], "two calls in progress", DEADLINE_S)
            mark.touch()
            for done in calls:
                assert json.loads(done.result()["Body"].read())["name"] == "m"
            mark.unlink()
            hold.touch()
            calls = [pool.submit(call, emulator)]
            wait_for(lambda: statuses(emulator) == ["Busy", "Warm"], "a busy and a warm container", DEADLINE_S)
            calls += [pool.submit(call, emulator)]
            wait_for(lambda: statuses(emulator) == ["Busy", "Busy"], "two calls in progress", DEADLINE_S)
            calls += [pool.submit(call, emulator)]
            wait_for(
                lambda: [item["status"] for item in containers(emulator) if item["pid"]].count("Starting") == 1,
                "a container that starts",
                DEADLINE_S,
            )
            before = containers(emulator)
            assert statuses(emulator) == ["Busy", "Busy", "Starting"]
            processes = [psutil.Process(container["pid"]) for container in before]
            os.kill(emulator.process.pid, signal.SIGKILL)
            _, alive = psutil.wait_procs(processes, timeout=DEADLINE_S)
            assert not alive
        left = set(short_dir.iterdir())
        assert left
        hold.unlink()
        mark.touch()
        with running_emulator(tmp_path, *options) as emulator:
            wait_until_in_service(emulator)
            assert json.loads(call(emulator)["Body"].read())["name"] == "m"
            assert statuses(emulator) == ["Warm"]
            assert not left & set(short_dir.iterdir())
            for container in before:
                assert OwnControlGroup.named(f"*{container['id']}*") == []
    assert list(short_dir.iterdir()) == []
