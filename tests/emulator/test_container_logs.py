"""What containers print, in CloudWatch Logs."""

import time
from collections.abc import Callable

from emulator.container_logs import _cut
from tests.emulator.conftest import REGION, Local


def test_each_instance_has_a_stream_with_its_lines_in_order(local: Local, hosted: Callable[..., str]) -> None:
    endpoint = hosted("a", "b", count=2)
    for model in ("a", "b"):
        local.ask(endpoint, model)
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


def test_a_call_takes_no_more_than_the_service_allows() -> None:
    events = [{"timestamp": 1, "message": "é" * 16_000} for _ in range(100)]
    first, rest = _cut(events)
    assert 0 < len(first) < 100 and first + rest == events
    assert sum(len(event["message"].encode()) + 26 for event in first) <= 1_048_576
    short = [{"timestamp": 1, "message": "x"}] * 2500
    assert [len(part) for part in _cut(short)] == [1000, 1500]
