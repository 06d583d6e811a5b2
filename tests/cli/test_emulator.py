"""`polyhost emulator` as a user runs it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from polyhost.end_guard import EndGuard
from polyhost.processes import free_port
from tests.emulator.archives import archive
from tests.emulator.conftest import COMMAND, ROLE
from tests.support.container import ROOT
from tests.support.hostile_archives import busy
from tests.support.waiting import wait_for

POLYHOST = Path(sys.executable).with_name("polyhost")


@contextmanager
def started(*options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run an emulator with small containers; yield its process and URL."""
    command = [str(POLYHOST), "emulator", "--port", "0", "--command", " ".join(COMMAND), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | environment)
    assert process.stdout is not None
    guard = EndGuard(["kill", str(process.pid)])
    try:
        yield process, process.stdout.readline().split(" at ")[1].split(" ")[0]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        guard.cancel()
        process.stdout.close()


def _environ(url: str) -> dict[str, str]:
    """Return the variables that `polyhost emulator env` sets in a shell."""
    script = f'eval "$({POLYHOST} emulator env --url {url} --region eu-west-1)" && env'
    output = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    return dict(line.split("=", 1) for line in output.splitlines() if line.startswith(("AWS_", "SAGEMAKER_")))


def _client(service: str, url: str) -> Any:
    return boto3.client(service, "us-east-1", endpoint_url=url, aws_access_key_id="test", aws_secret_access_key="test")


def _create_endpoint(sagemaker: Any, container: dict[str, Any], count: int = 1) -> None:
    """Create endpoint `e` of this container."""
    sagemaker.create_model(ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": "i"} | container)
    variant = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": count}
    sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")


def _wait_until_in_service(sagemaker: Any) -> None:
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="e", WaiterConfig={"Delay": 1, "MaxAttempts": 120})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_the_emulator_and_every_container(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "m.tar.gz").write_bytes(archive("m"))
    with started() as (process, url):
        sagemaker = _client("sagemaker", url)
        _create_endpoint(sagemaker, {"Mode": "MultiModel", "ModelDataUrl": f"file://{tmp_path}/"}, count=2)
        _wait_until_in_service(sagemaker)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        process.send_signal(number)
        assert process.wait(60) == 0
        _, alive = psutil.wait_procs(children, timeout=60)
        assert not alive


def test_signal_stops_the_emulator_while_it_unpacks(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "m.tar.gz").write_bytes(archive("m"))
    busy(tmp_path / "models" / "busy.tar.gz")
    with started(TMPDIR=str(tmp_path / "tmp")) as (process, url):
        sagemaker, runtime = _client("sagemaker", url), _client("sagemaker-runtime", url)
        _create_endpoint(sagemaker, {"Mode": "MultiModel", "ModelDataUrl": f"file://{tmp_path}/models/"})
        _wait_until_in_service(sagemaker)
        stuck = threading.Thread(target=_invoke_in_vain, args=(runtime, "busy.tar.gz"))
        stuck.start()
        wait_for(lambda: list((tmp_path / "tmp").glob("*/**/.download-*/model")), "the archive is being unpacked")
        assert runtime.invoke_endpoint(EndpointName="e", TargetModel="m.tar.gz", Body=b"?")["Body"].read()
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        stuck.join()
        _, alive = psutil.wait_procs(children, timeout=60)
        assert not alive
    assert list((tmp_path / "tmp").iterdir()) == []


def _invoke_in_vain(runtime: Any, model: str) -> None:
    with pytest.raises((BotoCoreError, ClientError)):
        runtime.invoke_endpoint(EndpointName="e", TargetModel=model, Body=b"?")


@pytest.mark.parametrize("option", ["command", "image=", "=command", "image= "])
def test_an_image_command_without_both_parts_is_rejected(option: str) -> None:
    command = [str(POLYHOST), "emulator", "--port", "0", "--image-command", option]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"--image-command {option!r} is not IMAGE=COMMAND" in done.stderr


def test_env_prints_the_variables_of_aws_clients() -> None:
    environ = _environ("http://127.0.0.1:4567")
    assert {name: environ[name] for name in environ if name != "AWS_CA_BUNDLE"} == {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:4567",
        "AWS_ACCESS_KEY_ID": "polyhost",
        "AWS_SECRET_ACCESS_KEY": "polyhost",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_REGION": "eu-west-1",
        "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": str(ROOT / "polyhost" / "sagemaker_sdk.yaml"),
        "SAGEMAKER_VALIDATE_ROLE": "false",
    }


def test_fault_is_added() -> None:
    with started() as (_, url):
        command = [
            str(POLYHOST),
            "emulator",
            "fault",
            "slow-load",
            "--seconds",
            "2",
            "--model",
            "a.tar.gz",
            "--url",
            url,
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["model"] == "a.tar.gz"


def test_fault_goes_to_the_emulator_at_host_and_port() -> None:
    with started() as (_, url):
        port = url.rpartition(":")[2]
        for options in (
            ["emulator", "--port", port, "fault", "time-out"],
            ["emulator", "fault", "time-out", "--url", f"{url}/"],
        ):
            done = subprocess.run([POLYHOST, *options], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        done = subprocess.run([POLYHOST, "emulator", "--port", port, "env"], capture_output=True, text=True)
        assert f"AWS_ENDPOINT_URL={url}\n" in done.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["fault", "time-out", "--url", "http://a:b"], "no emulator responds at http://a:b"),
        (["fault", "time-out", "--url", "garbage"], "no emulator responds at garbage"),
        (["--port", "0", "--s3-endpoint", "garbage"], "invalid S3 endpoint 'garbage'"),
        (["--port", "0", "--s3-endpoint", "http://a:b"], "invalid S3 endpoint 'http://a:b'"),
    ],
)
def test_bad_url_is_a_one_line_error(options: list[str], words: str) -> None:
    done = subprocess.run([POLYHOST, "emulator", *options], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert words in done.stderr and "Traceback" not in done.stderr


def test_start_failures_are_one_line_errors(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run([POLYHOST, "emulator", "--port", port], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr
    environ = {"PATH": str(tmp_path), "HOME": os.environ["HOME"]}
    command = [str(POLYHOST), "emulator", "--driver", "docker", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ)
    assert done.returncode == 1
    assert "the docker driver needs the command 'docker'" in done.stderr
    if shutil.which("docker"):
        environ = dict(os.environ, DOCKER_HOST=f"unix://{tmp_path}/no-engine")
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ)
        assert done.returncode == 1
        assert "no Docker engine answers (" in done.stderr and "or use --driver process" in done.stderr
        assert "Traceback" not in done.stderr
    url = f"http://127.0.0.1:{free_port()}"
    done = subprocess.run([POLYHOST, "emulator", "fault", "time-out", "--url", url], capture_output=True, text=True)
    assert done.returncode == 1
    assert "no emulator responds" in done.stderr


def test_state_survives_a_restart(tmp_path: Path) -> None:
    (tmp_path / "m.tar.gz").write_bytes(archive("m"))
    for first in (True, False):
        with started("--state", str(tmp_path / "state")) as (_, url):
            sagemaker, runtime = _client("sagemaker", url), _client("sagemaker-runtime", url)
            if first:
                _create_endpoint(sagemaker, {"Mode": "MultiModel", "ModelDataUrl": f"file://{tmp_path}/"})
            _wait_until_in_service(sagemaker)
            response = runtime.invoke_endpoint(EndpointName="e", TargetModel="m.tar.gz", Body=b"?")
            assert json.loads(response["Body"].read())["name"] == "m"


def test_next_emulator_cleans_up_after_a_killed_one(tmp_path: Path) -> None:
    (tmp_path / "m.tar.gz").write_bytes(archive("m"))
    # Emulators of other tests must not clean up first.
    with started(TMPDIR=str(tmp_path)) as (process, url):
        sagemaker = _client("sagemaker", url)
        _create_endpoint(sagemaker, {"Mode": "MultiModel", "ModelDataUrl": f"file://{tmp_path}/"})
        _wait_until_in_service(sagemaker)
        (child,) = psutil.Process(process.pid).children()
        (work,) = {Path(file.path).parent for file in psutil.Process(process.pid).open_files() if "lock" in file.path}
        with started(TMPDIR=str(tmp_path)) as (_, other):
            assert work.exists(), "the second emulator removed the folder of a running one"
            assert _client("sagemaker", other).list_endpoints()["Endpoints"] == []
        process.kill()
        _, alive = psutil.wait_procs([child], timeout=60)
        assert not alive
        assert work.exists()
        with started(TMPDIR=str(tmp_path)):
            assert not work.exists()


def test_stops_while_a_container_starts(tmp_path: Path) -> None:
    with started() as (process, url):
        sagemaker = _client("sagemaker", url)
        _create_endpoint(sagemaker, {"Environment": {"SMALL_PING": "503"}})
        (child,) = wait_for(lambda: psutil.Process(process.pid).children(), "the container's process")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        _, alive = psutil.wait_procs([child], timeout=60)
        assert not alive


def test_stops_while_s3_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with started("--s3-endpoint", endpoint) as (process, url):
            sagemaker = _client("sagemaker", url)
            _create_endpoint(sagemaker, {"ModelDataUrl": "s3://bucket/model.tar.gz"})
            silent.settimeout(30)
            connection, _ = silent.accept()
            with connection:
                process.send_signal(signal.SIGTERM)
                assert process.wait(60) == 0
