"""`polyhost serve`."""

import json
import signal
from pathlib import Path

import httpx
import psutil
import pytest

from polyhost.processes import RunningContainer, running_container
from tests.support.command import run_polyhost


def test_two_containers_run_side_by_side_and_leave_no_process(served: RunningContainer, tmp_path: Path) -> None:
    with running_container(tmp_path, "--log-format", "json", "--workers", "1") as other:
        assert other.url != served.url
        for url in (served.url, other.url):
            assert httpx.get(f"{url}/ping", trust_env=False).status_code == 200
    assert other.process.popen.returncode == 0
    assert other.process.processes() == []
    assert served.process.processes() != []
    assert json.loads(other.process.log.read_text().splitlines()[-1])["message"]


def listening_addresses(container: RunningContainer) -> set[str]:
    port = int(container.url.rpartition(":")[2])
    return {
        connection.laddr.ip
        for connection in psutil.net_connections("tcp")
        if connection.laddr and connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    }


@pytest.mark.parametrize("frontend", ["mms", "native"])
def test_other_machines_are_served_only_on_demand(frontend: str, tmp_path: Path) -> None:
    with running_container(tmp_path, "--frontend", frontend) as container:
        assert listening_addresses(container) <= {"127.0.0.1", "::ffff:127.0.0.1"} != set()
    with running_container(tmp_path, "--frontend", frontend, "--host", "0.0.0.0") as container:
        assert listening_addresses(container) & {"0.0.0.0", "::"}


def test_sigint_stops_the_container(tmp_path: Path) -> None:
    with running_container(tmp_path) as container:
        container.process.popen.send_signal(signal.SIGINT)
        container.process.popen.wait(30)
        assert container.process.processes() == []


def test_a_missing_folder_is_a_usage_error(tmp_path: Path) -> None:
    result = run_polyhost("serve", "--base-dir", tmp_path / "nowhere")
    assert result.returncode == 2
    assert f"{tmp_path}/nowhere" in result.stderr


def test_an_invalid_setting_of_the_environment_is_named(tmp_path: Path) -> None:
    result = run_polyhost("serve", "--base-dir", tmp_path, environ={"SAGEMAKER_MAX_REQUEST_SIZE": "huge"})
    assert result.returncode == 2
    assert "SAGEMAKER_MAX_REQUEST_SIZE='huge'" in result.stderr


def test_a_port_above_32766_is_rejected_for_mms(tmp_path: Path) -> None:
    result = run_polyhost("serve", "--base-dir", tmp_path, "--port", "40000")
    assert result.returncode == 2
    assert "32766" in result.stderr


def test_a_port_in_use_is_named(served: RunningContainer, tmp_path: Path) -> None:
    port = served.url.rpartition(":")[2]
    result = run_polyhost("serve", "--base-dir", tmp_path, "--port", port)
    assert result.returncode != 0
    assert f"={port}: Address already in use; choose another port" in result.stderr
