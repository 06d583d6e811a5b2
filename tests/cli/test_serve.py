"""`polyhost serve`."""

import json
import signal
from pathlib import Path

import httpx
import psutil
import pytest

from polyhost.processes import RunningContainer, running_container, running_emulator
from tests.support.command import run_polyhost
from tests.support.emulator import boto3_client
from tests.support.model_store import TARGET, put, says


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


def test_a_store_is_served_by_name(tmp_path: Path) -> None:
    store = tmp_path / "store"
    put(store, "team/a.tar.gz", says("from the store"))
    with running_container(tmp_path, "--store", str(store)) as container:
        response = httpx.post(
            f"{container.url}/invocations",
            content=b"{}",
            headers={TARGET: "team/a.tar.gz"},
            trust_env=False,
            timeout=60,
        )
        assert (response.status_code, response.text) == (200, "from the store")
    assert container.process.popen.returncode == 0


@pytest.mark.parametrize("frontend", ["mms", "native"])
def test_a_prefix_of_the_emulators_s3_is_served(frontend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("obstore")
    with running_emulator(tmp_path) as emulator:
        s3 = boto3_client(emulator.url, "s3")
        s3.create_bucket(Bucket="served")
        s3.put_object(Bucket="served", Key="many/team/a.tar.gz", Body=says("from the emulator"))
        for name, value in emulator.environ().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("POLYHOST_STATE_DIR", str(tmp_path))
        with running_container(tmp_path, "--frontend", frontend, "--store", "s3://served/many/") as container:
            headers = {TARGET: "team/a.tar.gz"}
            response = httpx.post(
                f"{container.url}/invocations", content=b"{}", headers=headers, trust_env=False, timeout=90
            )
            assert (response.status_code, response.text) == (200, "from the emulator")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--store", "/a", "--store", "s3://b/c/"], ["names 2 stores", "/a and s3://b/c/", "give one"]),
        (["--store", "/a", "--single-model"], ["many models", "give one of the two"]),
        (["--store", "/does/not/exist"], ["POLYHOST_MODEL_STORE='/does/not/exist'", "create it, or mount it"]),
        (["--store", "ftp://x/"], ["POLYHOST_MODEL_STORE='ftp://x/'", "s3://BUCKET/PREFIX/"]),
    ],
)
def test_a_store_that_cannot_be_served_ends_with_status_2(options: list[str], words: list[str]) -> None:
    result = run_polyhost("serve", *options)
    assert result.returncode == 2
    shown = " ".join(result.stderr.replace("│", " ").split())
    assert all(word in shown for word in words), shown
