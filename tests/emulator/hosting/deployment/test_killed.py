"""An emulator that is killed during a canary, and the next one with the same state."""

import os
import shlex
import signal
from pathlib import Path

import psutil
import pytest

from polyhost.processes import running_emulator
from tests.emulator.conftest import COMMAND, Local
from tests.emulator.hosting.deployment.harness import Deployments, canary, guarded, instances
from tests.support.emulator import boto3_client

pytestmark = pytest.mark.slow
_DEADLINE_S = 60.0


class _Emulator:
    """An emulator in a process of its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def client(self, service: str, region: str) -> object:
        return boto3_client(self.url, service, region)


def _deployments(url: str) -> Deployments:
    return Deployments(Local(_Emulator(url)))


@pytest.mark.parametrize("with_alarm", [False, True])
def test_the_old_fleet_comes_back_alone(tmp_path: Path, with_alarm: bool) -> None:
    options = ("--state", str(tmp_path / "state"), "--command", shlex.join(COMMAND), "--time-scale", "0.01")
    with running_emulator(tmp_path, *options) as emulator:
        deployments = _deployments(emulator.url)
        deployments.endpoint("killed")
        config = canary(50, 3600)
        if with_alarm:
            config = guarded(config, deployments.alarm("killed-alarm"))
        deployments.update("killed", "killed-new", config)
        state = deployments.wait_for_stage("killed", "Baking", 0.5)
        both = [instances(state, f"killed-{kind}")[0] for kind in ("old", "new")]
        processes = [psutil.Process(instance["pid"]) for instance in both]
        os.kill(emulator.process.pid, signal.SIGKILL)
        _, alive = psutil.wait_procs(processes, timeout=_DEADLINE_S)
        assert not alive
    with running_emulator(tmp_path, *options) as emulator:
        deployments = _deployments(emulator.url)
        # It begins again, from its first step.
        state = deployments.wait_for_stage("killed", "Baking", 0.5)
        assert [len(instances(state, f"killed-{kind}")) for kind in ("old", "new")] == [1, 1]
        assert set(deployments.answers("killed", 20)) == {"old", "new"}
        if with_alarm:
            deployments.trip("killed-alarm")
            seen = deployments.wait_for_status("killed", "InService")
            assert "killed-alarm of AutoRollbackConfiguration tripped" in seen["FailureReason"]
            assert [variant["config"] for variant in deployments.state("killed")["variants"]] == ["killed-old"]
            assert deployments.answers("killed", 10) == {"old": 10}
