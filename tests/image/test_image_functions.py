"""Functions of container images in the emulator: what Lambda gives them, their changes, their ends, and their logs."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from polyhost.processes import running_emulator
from tests.emulator.functions.harness import ROLE, ClientsOf, Lambda
from tests.image.engine import BUILD_SECONDS, built, docker
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.image, pytest.mark.timeout(BUILD_SECONDS)]

# Runs the statements of its event, and returns what these call `result`.
SOURCE = """
import os, pathlib, subprocess, sys, time

def handler(event, context):
    names = {"context": context, **globals()}
    exec(event, names)
    return names.get("result")

def other(event, context):
    return "other"
"""
PID = "print('printed'); result = context.log_stream_name"


@contextmanager
def image_of(source: str, base: str, name: str, folder: Path) -> Iterator[str]:
    (folder / "Dockerfile").write_text(f"FROM {base}\nCOPY app.py /var/task/\n")
    (folder / "app.py").write_text(source)
    (folder / "app.py").chmod(0o644)
    with built(name, folder) as image:
        yield image


@pytest.fixture(scope="module")
def runner_image(lambda_image: str, unique_tag: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("runner")
    with image_of(SOURCE, lambda_image, f"polyhost-function:{unique_tag}", folder) as image:
        yield image


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lambda]:
    folder = tmp_path_factory.mktemp("emulator")
    with running_emulator(folder, "--driver", "docker", "--serverless-idle", "300") as emulator:
        yield Lambda(ClientsOf(emulator.url))


@pytest.fixture
def name(unique_tag: str, request: pytest.FixtureRequest) -> str:
    return f"f-{unique_tag}-{abs(hash(request.node.nodeid)) % 10**6}"


def create(functions: Lambda, name: str, image: str, **members: Any) -> None:
    settings = {"PackageType": "Image", "Code": {"ImageUri": image}, "Role": ROLE, "Timeout": 60, "MemorySize": 256}
    functions.client.create_function(**{"FunctionName": name, **settings, **members})


def containers(name: str) -> list[str]:
    """Return the containers of a function, whatever their state."""
    return docker("ps", "--all", "--quiet", f"--filter=label=polyhost.function={name}").stdout.split()


def test_what_a_container_may_do_and_what_it_sees(functions: Lambda, runner_image: str, name: str) -> None:
    create(functions, name, runner_image, Environment={"Variables": {"COLOUR": "green"}})
    (seen,) = functions.returned(name, "result = [[os.getuid(), os.environ['COLOUR'], os.environ['AWS_ENDPOINT_URL']]]")
    assert seen == [993, "green", functions.emulator.url]
    written = "pathlib.Path('/tmp/own').write_text('x'); result = sorted(os.listdir('/tmp'))"
    assert functions.returned(name, written) == ["own"]
    failed = functions.invoke(name, "open('/var/task/new', 'w')")
    assert "Read-only file system" in failed["Payload"]["errorMessage"]
    (container,) = containers(name)
    limit = docker("inspect", "--format={{.HostConfig.Memory}}", container).stdout
    assert int(limit) == 256 << 20


def test_an_environment_is_reused_and_has_one_call_at_a_time(functions: Lambda, runner_image: str, name: str) -> None:
    create(functions, name, runner_image)
    first = functions.invoke(name, PID)
    assert functions.returned(name, PID) == first["Payload"]
    with ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(functions.returned, name, f"time.sleep(5); {PID}") for _ in range(2)]
        streams = {call.result() for call in calls}
    assert first["Payload"] in streams and len(streams) == len(containers(name)) == 2
    request = first["ResponseMetadata"]["RequestId"]
    wait_for(lambda: "printed" in functions.log_lines(name), "what was printed")
    lines = functions.log_lines(name)
    assert f"START RequestId: {request} Version: $LATEST" in lines and f"END RequestId: {request}" in lines
    (report,) = [line for line in lines if line.startswith(f"REPORT RequestId: {request}")]
    fields = dict(field.split(": ", 1) for field in report.removeprefix("REPORT ").strip().split("\t"))
    assert 0 < int(fields["Max Memory Used"].split()[0]) <= 256 and "Init Duration" in fields
    functions.client.delete_function(FunctionName=name)
    assert containers(name) == []


def test_code_changes_with_the_name_of_the_image(
    functions: Lambda, runner_image: str, lambda_image: str, name: str, unique_tag: str, tmp_path: Path
) -> None:
    create(functions, name, runner_image)
    assert functions.returned(name, "result = 'runner'") == "runner"
    functions.client.update_function_configuration(FunctionName=name, ImageConfig={"Command": ["app.other"]})
    assert functions.returned(name) == "other"
    constant = "def handler(event, context):\n    return {!r}\n\nother = handler\n"
    tag = f"polyhost-changing:{unique_tag}"
    with image_of(constant.format("one"), lambda_image, tag, tmp_path):
        functions.client.update_function_code(FunctionName=name, ImageUri=tag)
        assert functions.returned(name) == "one"
        before = functions.client.get_function_configuration(FunctionName=name)["CodeSha256"]
        with image_of(constant.format("two"), lambda_image, tag, tmp_path):
            assert functions.returned(name) == "one"  # as on AWS, the name's image is looked up when the code is set
            functions.client.update_function_code(FunctionName=name, ImageUri=tag)
            assert functions.returned(name) == "two"
            assert functions.client.get_function_configuration(FunctionName=name)["CodeSha256"] != before
            functions.client.delete_function(FunctionName=name)


def test_a_time_out_and_a_lack_of_memory_end_the_container(functions: Lambda, runner_image: str, name: str) -> None:
    create(functions, name, runner_image, Timeout=3)
    failed = functions.invoke(name, "time.sleep(1000)")["Payload"]
    assert failed["errorType"] == "Sandbox.Timedout" and "after 3.00 seconds" in failed["errorMessage"]
    assert containers(name) == []
    functions.client.update_function_configuration(FunctionName=name, Timeout=120)
    failed = functions.invoke(name, "result = len(b'x' * (1 << 30))")["Payload"]
    assert failed["errorType"] == "Runtime.ExitError" and failed["errorMessage"].endswith("signal: killed")
    assert containers(name) == []
    assert functions.returned(name, "result = 1") == 1


def test_an_entry_point_that_does_not_exist(functions: Lambda, runner_image: str, name: str) -> None:
    create(functions, name, runner_image, ImageConfig={"EntryPoint": ["/no/such/program"]})
    failed = functions.invoke(name, "")["Payload"]
    assert failed["errorType"] == "Runtime.InvalidEntrypoint"
    assert "/no/such/program" in failed["errorMessage"]
    assert containers(name) == []


def test_a_missing_image_is_rejected(functions: Lambda, runner_image: str, name: str) -> None:
    missing = "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/missing:1"
    words = f"Source image {missing} does not exist. Provide a valid source image."
    with pytest.raises(ClientError, match=words):
        create(functions, name, missing)
    create(functions, name, runner_image)
    with pytest.raises(ClientError, match=words):
        functions.client.update_function_code(FunctionName=name, ImageUri=missing)
    assert functions.returned(name, "result = 1") == 1


def test_a_function_that_is_deleted_ends_its_call_and_leaves_no_container(
    functions: Lambda, runner_image: str, name: str
) -> None:
    create(functions, name, runner_image)
    functions.returned(name, "pass")
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(functions.returned, name, "print('began'); time.sleep(5); result = 'ended'")
        wait_for(lambda: "began" in functions.log_lines(name), "the beginning of the call")
        functions.client.delete_function(FunctionName=name)
        assert call.result() == "ended"
    wait_for(lambda: containers(name) == [], "the end of the container")


def test_an_idle_container_ends_and_so_do_all_with_the_emulator(runner_image: str, name: str, tmp_path: Path) -> None:
    with running_emulator(tmp_path, "--driver", "docker", "--serverless-idle", "1") as emulator:
        functions = Lambda(ClientsOf(emulator.url))
        create(functions, name, runner_image)
        functions.returned(name, "pass")
        wait_for(lambda: containers(name) == [], "the end of the idle container")
    with running_emulator(tmp_path, "--driver", "docker") as emulator:
        functions = Lambda(ClientsOf(emulator.url))
        create(functions, name, runner_image)
        functions.returned(name, "pass")
        assert containers(name)
    assert containers(name) == []


def test_the_next_emulator_removes_what_a_killed_one_has_left(runner_image: str, name: str, tmp_path: Path) -> None:
    with running_emulator(tmp_path, "--driver", "docker") as emulator:
        functions = Lambda(ClientsOf(emulator.url))
        create(functions, name, runner_image)
        functions.returned(name, "pass")
        os.kill(emulator.process.pid, signal.SIGKILL)
    with running_emulator(tmp_path, "--driver", "docker"):
        assert containers(name) == []
