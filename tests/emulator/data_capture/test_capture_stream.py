"""Captures on their way to the emulator's S3: what is lost, what is kept, and when it is written."""

import asyncio
import json
from typing import Any

import pytest

from polyhost.emulator.aws_clients import S3Clients
from polyhost.emulator.data_capture.capture import CapturedBody, CapturedInvocation
from polyhost.emulator.data_capture.capture_stream import MAX_WAITING_BYTES, CaptureStream
from polyhost.emulator.hosting.capture_settings import CaptureSettings
from polyhost.emulator.object_storage import ObjectStorage
from polyhost.emulator.telemetry.recorder import Place
from tests.emulator.conftest import REGION, Local
from tests.support.waiting import until

NEVER_S = 3600.0

pytestmark = pytest.mark.anyio


class Harness:
    """A stream to a bucket, with what it reports."""

    def __init__(self, local: Local, bucket: str, period_s: float) -> None:
        self.reports: list[str] = []
        self.idle = False
        self._s3 = local.s3
        self._bucket = bucket
        storage = ObjectStorage(S3Clients(local.emulator.url, None))
        settings = CaptureSettings(f"s3://{bucket}/captured", 100, csv_types=("text/csv",))
        self.stream = CaptureStream(storage, settings, period_s, self.reports.append, self._on_idle)

    def _on_idle(self) -> None:
        self.idle = True

    async def create_bucket(self) -> None:
        location = {"LocationConstraint": REGION}
        await asyncio.to_thread(self._s3.create_bucket, Bucket=self._bucket, CreateBucketConfiguration=location)

    async def written(self) -> dict[str, list[str]]:
        """Return what the requests were, by key."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> dict[str, list[str]]:
        found = self._s3.list_objects_v2(Bucket=self._bucket).get("Contents", [])
        bodies = {item["Key"]: self._s3.get_object(Bucket=self._bucket, Key=item["Key"]) for item in found}
        return {key: [_data(line) for line in body["Body"].iter_lines()] for key, body in bodies.items()}


def _data(line: bytes) -> str:
    data: str = json.loads(line)["captureData"]["endpointInput"]["data"]
    return data


def _capture(text: str, at: float = 1_700_000_000.0, size: int = 0) -> CapturedInvocation:
    place = Place(REGION, "digits", "AllTraffic")
    response: Any = CapturedBody(bytes(size), "x/y") if size else None
    return CapturedInvocation(place, "id", at, CapturedBody(text.encode(), "text/csv"), response)


async def test_each_hour_has_an_object_of_its_own(local: Local) -> None:
    harness = Harness(local, "capture-hours", NEVER_S)
    await harness.create_bucket()
    for text, at in (("a", 1_700_000_000.0), ("b", 1_700_000_001.0), ("c", 1_700_003_600.0)):
        assert harness.stream.add(_capture(text, at))
    harness.stream.end()
    await asyncio.wait_for(harness.stream.task, 60)
    assert harness.idle
    first, second = sorted((await harness.written()).items())
    assert first[0].startswith("captured/digits/AllTraffic/2023/11/14/22/") and first[0].endswith(".jsonl")
    assert second[0].startswith("captured/digits/AllTraffic/2023/11/14/23/")
    assert (first[1], second[1]) == (["a", "b"], ["c"])


async def test_what_cannot_be_written_is_kept_until_it_can(local: Local) -> None:
    harness = Harness(local, "capture-late", 0.05)
    harness.stream.add(_capture("a"))
    await until(lambda: len(harness.reports) > 1)
    assert "there is no bucket capture-late for s3://capture-late/captured/digits/AllTraffic/" in harness.reports[0]
    harness.stream.add(_capture("b"))
    await harness.create_bucket()
    await asyncio.wait_for(harness.stream.task, 60)
    assert list((await harness.written()).values()) == [["a", "b"]]


async def test_the_end_writes_at_once_and_gives_up_on_what_cannot_be_written(local: Local) -> None:
    good, bad = Harness(local, "capture-end", NEVER_S), Harness(local, "capture-no-bucket", NEVER_S)
    await good.create_bucket()
    for harness in (good, bad):
        harness.stream.add(_capture("a"))
        harness.stream.end()
        await asyncio.wait_for(harness.stream.task, 60)
    assert list((await good.written()).values()) == [["a"]]
    assert len(bad.reports) == 1 and bad.idle


async def test_a_flush_writes_what_is_there(local: Local) -> None:
    harness = Harness(local, "capture-flush", NEVER_S)
    await harness.create_bucket()
    harness.stream.add(_capture("a"))
    await harness.stream.flush()
    harness.stream.add(_capture("b"))
    assert list((await harness.written()).values()) == [["a"]]
    await harness.stream.flush()
    assert sorted((await harness.written()).values()) == [["a"], ["b"]]
    harness.stream.end()
    await asyncio.wait_for(harness.stream.task, 60)


async def test_memory_is_bounded(local: Local) -> None:
    harness = Harness(local, "capture-nowhere", NEVER_S)
    assert harness.stream.add(_capture("a", size=MAX_WAITING_BYTES + 1))  # the first one always has room
    assert not harness.stream.add(_capture("b"))
    await until(lambda: harness.reports)  # the size makes it try at once, and fail
    assert not harness.stream.add(_capture("c"))
    harness.stream.end()
    await asyncio.wait_for(harness.stream.task, 60)
