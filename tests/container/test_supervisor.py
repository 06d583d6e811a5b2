"""Settings that keep the container from starting (one sentence on stderr, status 2), and restarts."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from polyhost.processes import free_port
from tests.support.container import ENTRY_POINT, running
from tests.support.models import place
from tests.support.waiting import wait_for


def serve(**environ: str) -> subprocess.CompletedProcess[str]:
    """Run the container, which must end by itself."""
    return subprocess.run(
        [sys.executable, ENTRY_POINT, "serve"],
        env={"PATH": os.environ["PATH"], "SAGEMAKER_MULTI_MODEL": "true", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def error_of(result: subprocess.CompletedProcess[str]) -> str:
    assert (result.returncode, result.stdout) == (2, "")
    prefix, _, sentence = result.stderr.partition(": ")
    assert (prefix, sentence.count("\n")) == ("polyhost", 1)
    return sentence.strip()


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "99999", "must be a port from 1 to 32766"),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "many", "must be a whole number from 1 to"),
        ("SAGEMAKER_MAX_REQUEST_SIZE", "5000", "must be megabytes from 1 to 2047"),
        ("SAGEMAKER_SUBMIT_DIRECTORY", "code", "must be s3://BUCKET/KEY.tar.gz, or the path of a folder"),
        ("SAGEMAKER_SUBMIT_DIRECTORY", "/no/such/folder", "it does not exist; name the folder of the script"),
        ("POLYHOST_WITHHOLD", "a-b", "must be names of variables, such as DB_PASSWORD or MY_TEAM_*"),
        ("POLYHOST_LOG_FORMAT", "yaml", "must be one of json, text"),
    ],
)
def test_invalid_setting(name: str, value: str, remedy: str) -> None:
    assert error_of(serve(**{name: value})).startswith(f"{name}={value!r}: {remedy}")


def test_port_in_use() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        sentence = error_of(serve(SAGEMAKER_BIND_TO_PORT=str(port)))

    assert sentence == f"SAGEMAKER_BIND_TO_PORT={port}: Address already in use; choose another port"


def test_missing_model_of_a_single_model_container(tmp_path: Path) -> None:
    settings = {"SAGEMAKER_MULTI_MODEL": "false", "SAGEMAKER_BIND_TO_PORT": str(free_port())}

    sentence = error_of(serve(SAGEMAKER_BASE_DIR=str(tmp_path), **settings))

    assert sentence.startswith(f"{tmp_path}/model does not exist")


@pytest.mark.parametrize("name", ["file/run", "x" * 80], ids=["below a file", "too long for sockets"])
def test_unusable_run_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()

    sentence = error_of(serve(POLYHOST_RUN_DIR=str(tmp_path / name), SAGEMAKER_BIND_TO_PORT=str(free_port())))

    assert sentence.startswith(f"POLYHOST_RUN_DIR: {tmp_path / name}")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_failing_start_of_the_fork_server_is_retried(tmp_path: Path) -> None:
    with running(tmp_path, "native", POLYHOST_ZYGOTES="bare") as container:
        name = container.loaded(place("echo", container.models_dir))
        supervisor = psutil.Process(container.process.pid)
        limits = supervisor.rlimit(psutil.RLIMIT_NOFILE)
        fork_server = container.process_of("-m", "polyhost.container.forkserver")
        # Room for one more: it still sees its children's ends.
        numbers = {int(item.name) for item in Path(f"/proc/{supervisor.pid}/fd").iterdir()}
        free = min(set(range(len(numbers) + 1)) - numbers)
        supervisor.rlimit(psutil.RLIMIT_NOFILE, (max(free, *numbers) + 1, limits[1]))
        fork_server.kill()
        container.wait_for_event("cannot start the fork server now")
        supervisor.rlimit(psutil.RLIMIT_NOFILE, limits)

        assert container.invoke(name, "1").text == "1"
        wait_for(lambda: container.load(place("echo", container.models_dir)).status_code == 200, "a fork server")
