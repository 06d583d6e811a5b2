"""Emulators that keep their state in a folder, as processes that can be killed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyhost.processes import RunningEmulator, running_emulator
from tests.emulator.conftest import COMMAND, REGION
from tests.support.emulator import boto3_client


@dataclass(frozen=True)
class Durable:
    """An emulator with a state folder, and clients of it."""

    emulator: RunningEmulator

    def client(self, service: str) -> Any:
        """Return a client that does not retry."""
        return boto3_client(self.emulator.url, service, REGION)

    def bucket(self, name: str) -> str:
        """Create a bucket, and return its name."""
        self.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        return name

    def kill(self) -> None:
        """End the emulator as the kernel does when memory is short, and not its containers."""
        self.emulator.process.popen.kill()
        self.emulator.process.popen.wait()

    @property
    def log(self) -> str:
        return self.emulator.process.log.read_text()


@contextmanager
def durable(state: Path) -> Iterator[Durable]:
    """Run an emulator with this state folder; its log lies beside the folder."""
    options = ("--state", str(state), "--command", " ".join(COMMAND))
    with running_emulator(state.parent, *options) as emulator:
        yield Durable(emulator)


def content_of(s3: Any, bucket: str, key: str, **members: Any) -> bytes:
    """Return an object's bytes."""
    body: bytes = s3.get_object(Bucket=bucket, Key=key, **members)["Body"].read()
    return body
