"""SIGKILL in the middle of writes, a full disk, folders that cannot be used."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from polyhost.processes import running_emulator
from tests.emulator.moto_services.state.conftest import Durable, content_of, durable
from tests.support.command import run_polyhost
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow
THREADS = 4
KEYS = 5  # per thread: most are overwritten
ANSWERED = 60


class Writer:
    """Puts objects of random sizes until the emulator is gone, and notes what was answered."""

    def __init__(self, emulator: Durable, number: int) -> None:
        self._s3 = emulator.client("s3")
        self._number = number
        self.answered: dict[str, bytes] = {}
        self.unanswered: dict[str, bytes] = {}
        self.count = 0
        self.thread = threading.Thread(target=self._write)
        self.thread.start()

    def _write(self) -> None:
        while True:
            key = f"{self._number}-{self.count % KEYS}"
            body = os.urandom(1 + self.count * 7919 % (1 << 20))
            self.unanswered = {key: body}
            try:
                self._s3.put_object(Bucket="loop", Key=key, Body=body, Metadata={"bytes": str(len(body))})
            except (BotoCoreError, ClientError):
                return
            self.answered[key] = body
            self.unanswered = {}
            self.count += 1


def test_every_answered_put_is_there_and_no_half_object(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with durable(state) as first:
        first.bucket("loop")
        writers = [Writer(first, number) for number in range(THREADS)]
        wait_for(lambda: sum(writer.count for writer in writers) >= ANSWERED, "enough puts")
        first.kill()
        for writer in writers:
            writer.thread.join()
    with durable(state) as second:
        s3 = second.client("s3")
        found = {item["Key"] for item in s3.list_objects_v2(Bucket="loop")["Contents"]}
        for writer in writers:
            assert writer.answered.keys() <= found
            for key in found & (writer.answered.keys() | writer.unanswered.keys()):
                response = s3.get_object(Bucket="loop", Key=key)
                body = response["Body"].read()
                assert body in (writer.answered.get(key), writer.unanswered.get(key))
                assert response["Metadata"] == {"bytes": str(len(body))}
        # What was overwritten, or half written, takes no space.
        assert len(list((state / "objects").iterdir())) == len(found)


def test_a_file_that_was_being_written_is_removed_and_logged(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with durable(state) as first:
        first.bucket("kept")
        first.client("s3").put_object(Bucket="kept", Key="k", Body=b"content")
        first.kill()
    (state / "objects" / "0123456789abcdef").write_bytes(b"half of an obj")
    with durable(state) as second:
        assert content_of(second.client("s3"), "kept", "k") == b"content"
        assert "removing 1 files of S3 objects" in second.log


def test_the_torn_end_of_the_log_of_transactions_is_dropped(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with durable(state) as first:
        first.bucket("kept")
        first.client("s3").put_object(Bucket="kept", Key="k", Body=b"content")
        first.kill()
    with (state / "services.sqlite-wal").open("ab") as file:
        file.write(b"\0\1\2" * 999)
    with durable(state) as second:
        assert content_of(second.client("s3"), "kept", "k") == b"content"


def test_an_object_whose_file_is_not_whole_is_dropped_and_named(tmp_path: Path) -> None:
    """As after a power failure, after which the record may be there and the bytes may not."""
    state = tmp_path / "state"
    with durable(state) as first:
        first.bucket("kept")
        for key in ("lost", "whole"):
            first.client("s3").put_object(Bucket="kept", Key=key, Body=key.encode())
        first.kill()
    (file,) = [path for path in (state / "objects").iterdir() if path.read_bytes() == b"lost"]
    os.truncate(file, 2)
    for _ in range(2):  # it stays away
        with durable(state) as again:
            s3 = again.client("s3")
            assert [item["Key"] for item in s3.list_objects_v2(Bucket="kept")["Contents"]] == ["whole"]
            assert "S3 object kept/lost is lost" in again.log
            again.kill()


def test_without_a_state_nothing_is_kept_or_written(tmp_path: Path) -> None:
    with running_emulator(tmp_path) as emulator:
        Durable(emulator).bucket("forgotten")
        emulator.process.popen.kill()
    with running_emulator(tmp_path) as emulator:
        assert Durable(emulator).client("s3").list_buckets()["Buckets"] == []
    assert [path.name for path in tmp_path.iterdir()] == ["emulator.log"]


def test_motos_reset_empties_the_folder_too(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with durable(state) as first:
        first.bucket("before")
        first.client("s3").put_object(Bucket="before", Key="k", Body=b"content")
        assert httpx.post(f"{first.emulator.url}/moto-api/reset", trust_env=False).status_code == 200
        assert list((state / "objects").iterdir()) == []
        first.bucket("after")
        first.client("s3").put_object(Bucket="after", Key="k", Body=b"content")
        first.kill()
    with durable(state) as second:
        s3 = second.client("s3")
        assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["after"]
        assert content_of(s3, "after", "k") == b"content"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 8 MB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(mount)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("cannot mount a file system")
    yield mount
    subprocess.run(["umount", "--lazy", str(mount)], check=True)


def test_on_a_full_disk_a_request_fails_and_what_was_stored_stays(small_disk: Path, tmp_path: Path) -> None:
    state = small_disk / "state"
    with _durable_with_log(state, tmp_path) as first:
        s3, sqs = first.client("s3"), first.client("sqs")
        first.bucket("kept")
        s3.put_object(Bucket="kept", Key="k", Body=b"old")
        queue = sqs.create_queue(QueueName="kept")["QueueUrl"]
        with pytest.raises(ClientError) as raised:
            s3.put_object(Bucket="kept", Key="k", Body=bytes(9 << 20))
        assert raised.value.response["Error"]["Code"] == "ServiceUnavailable"
        assert "No space left on device" in raised.value.response["Error"]["Message"]
        assert "No space left on device" in first.log
        with contextlib.suppress(OSError), (small_disk / "filler").open("wb") as file:
            while file.write(bytes(1 << 16)):
                pass
        with pytest.raises(ClientError, match="cannot save the change"):
            for _ in range(100):  # until SQLite needs more space
                sqs.send_message(QueueUrl=queue, MessageBody="x" * 100_000)
        (small_disk / "filler").unlink()
        sqs.send_message(QueueUrl=queue, MessageBody="after")
        first.kill()
    with _durable_with_log(state, tmp_path) as second:
        assert content_of(second.client("s3"), "kept", "k") == b"old"
        received: list[dict[str, Any]] = []
        while messages := second.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
            received += messages
        assert received[-1]["Body"] == "after"


@contextlib.contextmanager
def _durable_with_log(state: Path, log_folder: Path) -> Iterator[Durable]:
    with running_emulator(log_folder, "--state", str(state)) as emulator:
        yield Durable(emulator)


def test_two_emulators_cannot_use_one_folder(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with durable(state) as emulator:
        emulator.bucket("kept")
        other = run_polyhost("emulator", "--port", "0", "--state", state)
        assert other.returncode == 1
        assert f"another emulator uses the state folder {state}" in other.stderr
        assert "choose another --state" in other.stderr
        emulator.client("s3").head_bucket(Bucket="kept")


@pytest.mark.parametrize("broken", ["services.sqlite", "resources.json"])
def test_a_folder_that_cannot_be_read_ends_the_start_with_one_sentence(tmp_path: Path, broken: str) -> None:
    (tmp_path / broken).write_bytes(b"no database, no JSON" * 100)
    done = run_polyhost("emulator", "--port", "0", "--state", tmp_path)
    assert done.returncode == 1
    assert f"cannot read the saved state in {tmp_path / broken}" in done.stderr
    assert "choose another --state" in done.stderr
    assert "Traceback" not in done.stderr
