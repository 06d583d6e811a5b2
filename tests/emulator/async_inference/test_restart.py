"""The queue survives the emulator: an orderly end, and SIGKILL in the middle of the work."""

import re
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from polyhost.emulator.async_inference.invocation_store import InvocationStore
from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.errors import StartError
from polyhost.emulator.server import Emulator
from tests.emulator.async_inference.harness import AsyncEndpoint, Topic, async_endpoint
from tests.emulator.async_inference.machine import Machine
from tests.emulator.conftest import COMMAND, Local
from tests.support.waiting import wait_for

NAME = "kept"


def _executions(journal: Path) -> Counter[str]:
    return Counter(journal.read_text().split()) if journal.exists() else Counter()


def _has_executions(journal: Path, count: int) -> bool:
    return sum(_executions(journal).values()) >= count


def _announced(log: str) -> list[str]:
    """Return the inference IDs of which a log says that they are run again."""
    return re.findall(r"asynchronous invocation (\S+) of kept: it was in progress when the emulator ended", log)


def test_a_killed_emulator_loses_no_invocation(machine: Machine) -> None:
    journal, mark = machine.folder / "journal", machine.folder / "go"
    settings = {"journal": str(journal), "invoke_mark": str(mark)}
    with machine.emulator() as local:
        topics = {"SuccessTopic": Topic(local, NAME).arn}
        made = async_endpoint(local, NAME, 2, settings, per_instance=2, NotificationConfig=topics)
        endpoint = made.__enter__()
        responses = [endpoint.invoke(InferenceId=f"s3-{number}") for number in range(12)]
        responses += [endpoint.invoke(Body=b"inline", InferenceId=f"body-{number}") for number in range(8)]
        wait_for(lambda: endpoint.queue() == (16, 4), "four in progress", 60)
        wait_for(lambda: sum(_outstanding(endpoint)) == 4, "four in containers", 60)
        machine.kill(local)
    assert _executions(journal) == {}

    mark.touch()
    with machine.emulator() as local:
        endpoint = AsyncEndpoint(local, NAME)
        assert {endpoint.answer(response)["name"] for response in responses} == {"one"}
        topic = Topic(local, NAME)
        for response in responses:
            topic.wait_for_result(response["InferenceId"])
        wait_for(lambda: endpoint.queue() == (0, 0), "an empty queue", 60)
        rerun = _announced(machine.log())
        assert len(rerun) == 4
        assert len(endpoint.events("queue")) == 4
    assert _executions(journal) == Counter(response["InferenceId"] for response in responses)

    with machine.emulator() as local:  # nothing is left to do
        assert AsyncEndpoint(local, NAME).queue() == (0, 0)
        assert _announced(machine.log()) == []


def test_kills_in_the_middle_of_the_work(machine_with_s3: Machine) -> None:
    """Every invocation is answered, and run twice only if the log says so."""
    machine = machine_with_s3
    journal = machine.folder / "journal"
    responses: list[dict[str, Any]] = []
    announced: Counter[str] = Counter()
    for round_ in range(3):
        with machine.emulator() as local:
            announced.update(_announced(machine.log()))
            endpoint = AsyncEndpoint(local, NAME)
            if not round_:
                endpoint = async_endpoint(local, NAME, 2, {"journal": str(journal)}).__enter__()
            local.wait(NAME)
            location = endpoint.put_input()
            wanted = sum(_executions(journal).values()) + 5
            responses += [endpoint.invoke(location, InferenceId=f"r{round_}-{number}") for number in range(40)]
            wait_for(partial(_has_executions, journal, wanted), "some executions", 60)
            machine.kill(local)
    with machine.emulator() as local:
        announced.update(_announced(machine.log()))
        endpoint = AsyncEndpoint(local, NAME)
        for response in responses:
            endpoint.answer(response)
        wait_for(lambda: endpoint.queue() == (0, 0), "an empty queue", 60)
    executions = _executions(journal)
    assert set(executions) == {response["InferenceId"] for response in responses}
    assert {name: count - 1 for name, count in executions.items() if count - 1 > announced[name]} == {}


def test_an_orderly_end_keeps_the_queue_too(tmp_path: Path) -> None:
    config = EmulatorConfig(port=0, command=COMMAND, state=tmp_path / "state")
    with Emulator(config) as emulator:
        endpoint = async_endpoint(Local(emulator), "kept-in-order").__enter__()
        endpoint.resize(0)
        fresh = endpoint.invoke(InferenceId="fresh")
        late = endpoint.invoke(InferenceId="old", RequestTTLSeconds=60)
    with closing(InvocationStore(tmp_path / "state")) as store:
        old = store.saved()[1].invocation
        store.remove(old)
        store.add(replace(old, received=time.time() - 61), None)
    with Emulator(config) as emulator:
        endpoint = AsyncEndpoint(Local(emulator), "kept-in-order")
        wait_for(lambda: endpoint.queue() == (1, 0), "the end of the old one", 60)
        (event,) = endpoint.events("failed")
        assert "asynchronous invocation old: The request expired: it was in the queue for longer than" in event
        wait_for(lambda: endpoint.metric("ExpiredRequests") == 1, "the metric", 60)
        assert endpoint.metric("InvocationFailures") == 1
        endpoint.resize(1)
        endpoint.answer(fresh)
        assert endpoint.object_at(late["OutputLocation"]) is None
        assert endpoint.events("queue") == []  # nothing had been in progress


def test_a_queue_without_its_endpoint_is_forgotten(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = EmulatorConfig(port=0, command=COMMAND, state=tmp_path / "state")
    with Emulator(config) as emulator:
        endpoint = async_endpoint(Local(emulator), "forgotten").__enter__()
        endpoint.resize(0)
        endpoint.invoke(InferenceId="left")
    state = tmp_path / "state" / "resources.json"
    state.write_text(state.read_text().replace('"kind": "endpoint"', '"kind": "model"'))
    with Emulator(config):
        assert "asynchronous invocation left ended with its endpoint forgotten, unanswered" in caplog.text
    with closing(InvocationStore(tmp_path / "state")) as store:
        assert store.saved() == []


def test_without_state_the_queue_ends_with_the_emulator(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mark = tmp_path / "go"
    with Emulator(EmulatorConfig(port=0, command=COMMAND)) as emulator:
        made = async_endpoint(Local(emulator), "lost", settings={"invoke_mark": str(mark)}, per_instance=1)
        endpoint = made.__enter__()
        for _ in range(3):
            endpoint.invoke()
        wait_for(lambda: endpoint.queue() == (2, 1), "one in progress", 60)
    assert "invocations that end unanswered with the emulator, which has no --state: 3" in caplog.text


def test_a_damaged_queue_is_named(tmp_path: Path) -> None:
    (tmp_path / "async-invocations.sqlite3").write_bytes(b"no database" * 100)
    with (
        pytest.raises(StartError, match=r"cannot open the saved queue .*async-invocations\.sqlite3 .* remove the file"),
        Emulator(EmulatorConfig(port=0, command=COMMAND, state=tmp_path)),
    ):
        pytest.fail("it started")


def _outstanding(endpoint: AsyncEndpoint) -> list[int]:
    (variant,) = endpoint.state()["variants"]
    return [instance["outstanding"] for instance in variant["instances"]]
