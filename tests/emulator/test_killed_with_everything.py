"""An emulator with an endpoint of each pattern, a running job and a full queue is killed, and everything goes on."""

import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from polyhost.emulator.hosting.control_group import OwnControlGroup
from polyhost.processes import ServerProcess, running_emulator
from tests.emulator.api.serverless_endpoints import host_serverless
from tests.emulator.api.several_containers import container, host, multi_model_container
from tests.emulator.archives import archive
from tests.emulator.async_inference.harness import AsyncEndpoint, Topic, create_async_config
from tests.emulator.batch_transform.harness import COMMAND as BATCH_COMMAND
from tests.emulator.batch_transform.harness import Batch, logged
from tests.emulator.conftest import COMMAND, Local
from tests.support.emulator import boto3_client
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow
DEADLINE_S = 60.0
INVOCATIONS = 6
PATTERNS: dict[str, Callable[[Local], str]] = {
    "models": lambda local: _name(local, "models", TargetModel="b.tar.gz"),
    "pipeline": lambda local: _name(local, "pipeline", TargetModel="a.tar.gz"),
    "direct": lambda local: _name(local, "direct", TargetContainerHostname="second"),
    "shadowed": lambda local: _name(local, "shadowed"),
    "serverless": lambda local: _name(local, "serverless"),
}
RESPONSES = {"models": "b", "pipeline": "after", "direct": "second", "shadowed": "live", "serverless": "one"}


@dataclass
class Killable:
    """An emulator in a process of its own."""

    url: str
    process: ServerProcess

    def client(self, service: str, region: str) -> Any:
        return boto3_client(self.url, service, region)


@dataclass(frozen=True)
class Machine:
    """A folder for the state and for files that tell containers to go on, and one for what emulators make."""

    folder: Path
    made: Path

    @property
    def mark(self) -> Path:
        """Without this file neither the queue's invocations nor the job's requests are answered."""
        return self.folder / "go-on"

    @property
    def executions(self) -> Counter[str]:
        journal = self.folder / "journal"
        return Counter(journal.read_text().split()) if journal.exists() else Counter()

    @property
    def requests_of_job(self) -> Path:
        return self.folder / "requests"

    @contextmanager
    def emulator(self) -> Iterator[Local]:
        options = ("--state", str(self.folder / "state"), "--command", shlex.join(COMMAND))
        with running_emulator(self.folder, *options, "--image-command", f"batch={shlex.join(BATCH_COMMAND)}") as found:
            yield Local(Killable(found.url, found.process))

    def kill(self, local: Local) -> None:
        """Send SIGKILL to the emulator alone: its containers must end by themselves."""
        assert isinstance(local.emulator, Killable)
        process = local.emulator.process
        process.popen.kill()
        process.popen.wait()
        wait_for(lambda: not process.processes(), "the end of the containers", DEADLINE_S)

    @property
    def log(self) -> str:
        return (self.folder / "emulator.log").read_text()

    def leftovers(self) -> set[Path]:
        """Return the folders that emulators have made, and the control groups of the instances in them."""
        instances = [path.name for path in self.made.glob("*/i-*")]
        groups = {group.folder for name in instances for group in OwnControlGroup.named(f"*-{name}-*")}
        return {*self.made.iterdir(), *groups}


@pytest.fixture
def machine(tmp_path: Path, short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("TMPDIR", str(short_dir))  # emulators of other tests must not clean up first
    return Machine(tmp_path, short_dir)


def test_everything_goes_on_and_nothing_is_left(machine: Machine) -> None:
    with machine.emulator() as local:
        _host_endpoints(local)
        assert {name: pattern(local) for name, pattern in PATTERNS.items()} == RESPONSES
        queued = _fill_queue(local, machine)
        _start_job(local, machine)
        machine.kill(local)
    before = machine.leftovers()
    assert before

    with machine.emulator() as local:  # killed again while its containers start
        machine.kill(local)
    before |= machine.leftovers()

    machine.mark.touch()
    with machine.emulator() as local:
        for name in RESPONSES:
            local.wait(name)
        assert {name: pattern(local) for name, pattern in PATTERNS.items()} == RESPONSES
        _check_queue(local, machine, queued)
        _check_job(local, machine)
        assert [path for path in before if path.exists()] == []
    assert machine.leftovers() == set()


def _name(local: Local, endpoint: str, **target: str) -> str:
    """Invoke an endpoint, and return the name of the model that has answered."""
    response = local.runtime.invoke_endpoint(EndpointName=endpoint, Body=b"?", **target)
    return str(json.loads(response["Body"].read())["name"])


def _host_endpoints(local: Local) -> None:
    local.upload("models", "a", "b")
    local.host("models", 2)
    host(
        local, "pipeline", multi_model_container(local, "pipeline", "first", "a"), container(local, "pipeline", "after")
    )
    host(local, "direct", container(local, "direct", "first"), container(local, "direct", "second"), mode="Direct")
    for name in ("live", "candidate"):
        local.s3.put_object(Bucket="models", Key=f"{name}/model.tar.gz", Body=archive(name))
        local.model(name, multi_model=False)
    live, candidate = (
        {"VariantName": name, "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        for name in ("live", "candidate")
    )
    local.sagemaker.create_endpoint_config(
        EndpointConfigName="shadowed", ProductionVariants=[live], ShadowProductionVariants=[candidate]
    )
    local.sagemaker.create_endpoint(EndpointName="shadowed", EndpointConfigName="shadowed")
    local.wait("shadowed")
    host_serverless(local, "serverless")


def _fill_queue(local: Local, machine: Machine) -> list[dict[str, Any]]:
    """Queue invocations, of which one is in progress, and return the responses."""
    settings = {"journal": str(machine.folder / "journal"), "invoke_mark": str(machine.mark)}
    local.s3.put_object(Bucket="models", Key="queue/model.tar.gz", Body=archive("one", **settings))
    local.model("queue", multi_model=False)
    topic = Topic(local, "done")
    create_async_config(local, "queue", per_instance=1, NotificationConfig={"SuccessTopic": topic.arn})
    local.sagemaker.create_endpoint(EndpointName="queue", EndpointConfigName="queue")
    local.wait("queue")
    endpoint = AsyncEndpoint(local, "queue")
    responses = [endpoint.invoke(InferenceId=f"queued-{number}") for number in range(INVOCATIONS)]
    wait_for(lambda: endpoint.queue() == (INVOCATIONS - 1, 1), "an invocation in progress", DEADLINE_S)
    return responses


def _check_queue(local: Local, machine: Machine, responses: list[dict[str, Any]]) -> None:
    """Every invocation is answered and notified once; the log says which was in progress, and is run again."""
    endpoint, topic = AsyncEndpoint(local, "queue"), Topic(local, "done")
    for response in responses:
        assert endpoint.answer(response)["name"] == "one"
        assert topic.wait_for_result(response["InferenceId"])["invocationStatus"] == "Completed"
    ids = [response["InferenceId"] for response in responses]
    assert machine.executions == Counter(ids)
    assert "asynchronous invocation queued-0 of queue: it was in progress when the emulator ended" in machine.log
    assert Counter(result["inferenceId"] for result in topic.results()) == Counter(ids)


def _start_job(local: Local, machine: Machine) -> None:
    """Start a job of two objects of which the second gets no response yet."""
    batch = Batch(local.emulator)  # type: ignore[arg-type]  # it needs clients only
    batch.model("job")
    batch.put("job", {"1": b"a", "2": b"b held"})
    environment = {"BATCH_WAIT": str(machine.mark), "BATCH_WAITS": "held", "BATCH_LOG": str(machine.requests_of_job)}
    batch.create("job", Environment=environment)
    path = machine.requests_of_job
    wait_for(lambda: path.exists() and len(logged(path)) == 2, "a request without a response", DEADLINE_S)


def _check_job(local: Local, machine: Machine) -> None:
    batch = Batch(local.emulator)  # type: ignore[arg-type]
    assert batch.wait("job")["TransformJobStatus"] == "Completed"
    assert batch.outputs("job") == {"1.out": b"A", "2.out": b"B HELD"}
    assert "transform job job runs, again from its first object" in machine.log
