import json
import os
import signal
import subprocess
from pathlib import Path

import httpx

from examples.server import POLYHOST, Server, serving


def serve(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [POLYHOST, "serve", *arguments], capture_output=True, text=True, env=os.environ | environment, timeout=60
    )


def test_two_containers_serve_side_by_side_and_leave_nothing(served: Server, tmp_path: Path) -> None:
    with serving(tmp_path, "--log-format", "json", "--workers", "1") as other:
        assert other.url != served.url
        for url in (served.url, other.url):
            assert httpx.get(f"{url}/ping", trust_env=False).status_code == 200
    assert other.process.returncode is not None
    assert other.left_over() == []
    assert served.left_over() != []
    assert json.loads(other.log.read_text().splitlines()[-1])["message"]


def test_ctrl_c_ends_it_too(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        server.process.send_signal(signal.SIGINT)
        server.process.wait(30)
        assert server.left_over() == []


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    result = serve("--base-dir", tmp_path / "nowhere")
    assert result.returncode == 2
    assert "nowhere" in result.stderr


def test_a_wrong_setting_of_the_environment_is_named(tmp_path: Path) -> None:
    result = serve("--base-dir", tmp_path, SAGEMAKER_MAX_REQUEST_SIZE="huge")
    assert result.returncode == 2
    assert "SAGEMAKER_MAX_REQUEST_SIZE='huge'" in result.stderr


def test_a_port_that_the_server_cannot_take_is_refused(tmp_path: Path) -> None:
    result = serve("--base-dir", tmp_path, "--port", "40000")
    assert result.returncode == 2
    assert "32766" in result.stderr


def test_a_port_in_use_is_named(served: Server, tmp_path: Path) -> None:
    port = served.url.rpartition(":")[2]
    result = serve("--base-dir", tmp_path, "--port", port)
    assert result.returncode != 0
    assert f"={port}: Address already in use; choose another port" in result.stderr
