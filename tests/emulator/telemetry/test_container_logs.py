"""The output of containers in CloudWatch Logs."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from polyhost.emulator.telemetry.container_logs import ContainerLogPublisher
from polyhost.emulator.telemetry.log_streams import LogStream, LogStreams, remove_log_events, split_batch
from polyhost.emulator.telemetry.recorder import Place, Recorder
from tests.emulator.conftest import REGION, Local


def test_each_instance_has_a_stream_with_its_lines_in_order(local: Local, hosted: Callable[..., str]) -> None:
    endpoint = hosted("a", "b", count=2)
    for model in ("a", "b"):
        local.invoke(endpoint, model)
    logs = local.emulator.client("logs", REGION)
    group = f"/aws/sagemaker/Endpoints/{endpoint}"
    deadline = time.monotonic() + 15
    lines: dict[str, list[str]] = {}
    while sum(map(len, lines.values())) < 4:
        assert time.monotonic() < deadline, lines
        time.sleep(0.1)
        if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
            continue
        for stream in logs.describe_log_streams(logGroupName=group)["logStreams"]:
            name = stream["logStreamName"]
            events = logs.get_log_events(logGroupName=group, logStreamName=name, startFromHead=True)["events"]
            lines[name] = [event["message"] for event in events]
    assert all(name.startswith("AllTraffic/i-") for name in lines)
    assert sorted(lines.values()) == [
        ["small container started", "invoked a"],
        ["small container started", "invoked b"],
    ]


def test_deleted_group_is_created_again_and_old_events_are_removed(local: Local) -> None:
    recorder = Recorder()
    publisher = ContainerLogPublisher(recorder, local.emulator.url)
    logs = local.emulator.client("logs", REGION)
    deleted, other = (Place(REGION, f"logs-{name}", "v", "i-1") for name in ("deleted", "other"))

    def lines(place: Place) -> list[str]:
        group = f"/aws/sagemaker/Endpoints/{place.endpoint}"
        return [event["message"] for event in logs.filter_log_events(logGroupName=group)["events"]]

    for number in (1, 2):
        for place in (deleted, other):
            recorder.log_line(place, f"line {number}")
        publisher._publish()
        if number == 1:
            logs.delete_log_group(logGroupName="/aws/sagemaker/Endpoints/logs-deleted")
    assert lines(deleted) == ["line 2"]
    assert lines(other) == ["line 1", "line 2"]

    logs.create_log_group(logGroupName="mine")
    logs.create_log_stream(logGroupName="mine", logStreamName="s")
    event = {"timestamp": int(time.time() * 1000), "message": "kept"}
    logs.put_log_events(logGroupName="mine", logStreamName="s", logEvents=[event])
    remove_log_events(REGION, datetime.now(UTC) - timedelta(minutes=5))
    assert lines(other) == ["line 1", "line 2"]
    remove_log_events(REGION, datetime.now(UTC) + timedelta(minutes=5))
    assert lines(other) == []
    assert [event["message"] for event in logs.filter_log_events(logGroupName="mine")["events"]] == ["kept"]


def test_failure_for_one_instance_does_not_affect_others(local: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[LogStream] = []

    def send(self: LogStreams, stream: LogStream, events: object) -> None:
        sent.append(stream)
        raise OSError("no")

    monkeypatch.setattr(LogStreams, "put", send)
    recorder = Recorder()
    publisher = ContainerLogPublisher(recorder, local.emulator.url)
    for name in ("a", "b"):
        recorder.log_line(Place(REGION, name), "x")
    publisher._publish()
    assert [stream.group.rpartition("/")[2] for stream in sent] == ["a", "b"]


def test_batches_stay_within_the_services_limits() -> None:
    events = [{"timestamp": 1, "message": "é" * 16_000} for _ in range(100)]
    first, rest = split_batch(events)
    assert 0 < len(first) < 100 and first + rest == events
    assert sum(len(event["message"].encode()) + 26 for event in first) <= 1_048_576
    short = [{"timestamp": 1, "message": "x"}] * 2500
    assert [len(part) for part in split_batch(short)] == [1000, 1500]
