"""Payloads that are larger than the memory that the emulator may take for them."""

import re
from pathlib import Path

import pytest

from polyhost.emulator.async_inference import processor
from tests.emulator.async_inference.harness import BUCKET, Topic, async_endpoint
from tests.emulator.async_inference.machine import EmulatorProcess, Machine
from tests.emulator.conftest import Local

MEGABYTES = 192
MARGIN_MEGABYTES = 96  # for boto3's parts of 8 MB, connections, and what else a first invocation takes


def _peak_megabytes(local: Local) -> int:
    """Return the most memory that the emulator's process has had until now."""
    assert isinstance(local.emulator, EmulatorProcess)
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{local.emulator.process.pid}/status").read_text())
    assert found is not None
    return int(found[1]) >> 10


def test_large_payloads_pass_through_in_parts(machine_with_s3: Machine) -> None:
    with machine_with_s3.emulator() as local:
        with async_endpoint(local, "large-input") as endpoint:
            endpoint.answer(endpoint.invoke())
            before = _peak_megabytes(local)
            response = endpoint.invoke(endpoint.put_input(bytes(MEGABYTES << 20)))
            assert endpoint.answer(response)["length"] == MEGABYTES << 20
            assert _peak_megabytes(local) < before + MARGIN_MEGABYTES
        settings = {"quotes": True, "padding": MEGABYTES << 20}
        with async_endpoint(local, "large-output", settings=settings) as endpoint:
            before = _peak_megabytes(local)
            stored = endpoint.wait_for_object(endpoint.invoke()["OutputLocation"])
            assert len(stored["Content"]) > MEGABYTES << 20
            assert _peak_megabytes(local) < before + MARGIN_MEGABYTES


def test_an_input_above_the_limit_fails(local: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    assert processor.MAX_INPUT_BYTES == 1 << 30  # too much for a test
    monkeypatch.setattr(processor, "MAX_INPUT_BYTES", 1000)
    errors = Topic(local, "async-too-large")
    with async_endpoint(local, "async-too-large", NotificationConfig={"ErrorTopic": errors.arn}) as endpoint:
        endpoint.answer(endpoint.invoke(endpoint.put_input(b"x" * 1000)))
        location = endpoint.put_input(b"x" * 1001, "above")
        endpoint.invoke(location, InferenceId="above")
        assert errors.wait_for_result("above")["failureReason"] == (
            f"ClientError: Failed to download the request payload: s3://{BUCKET}/async-too-large/in/above has 1001"
            " bytes, more than the limit of 1000; make it smaller"
        )
