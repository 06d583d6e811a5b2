"""SageMaker on this machine, as a process: `polyhost emulator` started on a free port, and ended without a trace."""

import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from examples.server import POLYHOST, START_S, ServerError, free_port, last_words

REGION = "us-east-1"
STOP_S = 15.0


@dataclass(frozen=True)
class LocalSageMaker:
    """A running emulator."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def page(self) -> str:
        return f"{self.url}/_polyhost/"

    def environment(self) -> dict[str, str]:
        """What any AWS client needs to come here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }

    def client(self, service: str, region: str = REGION) -> Any:
        """A plain client of boto3; its arguments say what `environment` would."""
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}),
        )


@contextmanager
def emulating(folder: Path, *options: str) -> Iterator[LocalSageMaker]:
    """The emulator for as long as the block runs; its log lies in the folder."""
    local = _start(folder / "emulator.log", options)
    try:
        _wait_until_ready(local)
        yield local
    finally:
        _stop(local)


def _start(log: Path, options: tuple[str, ...]) -> LocalSageMaker:
    port = free_port()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [POLYHOST, "emulator", "--port", str(port), *options],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the caller, who then ends the emulator in order
        )
    return LocalSageMaker(f"http://127.0.0.1:{port}", log, process)


def _wait_until_ready(local: LocalSageMaker) -> None:
    deadline = time.monotonic() + START_S
    while not _answers(local):
        if local.process.poll() is not None:
            raise ServerError(f"the emulator ended with status {local.process.returncode}:\n{last_words(local.log)}")
        if time.monotonic() > deadline:
            raise ServerError(f"the emulator gave no answer within {START_S:.0f} s:\n{last_words(local.log)}")
        time.sleep(0.1)


def _answers(local: LocalSageMaker) -> bool:
    try:
        with urllib.request.urlopen(f"{local.url}/_polyhost/state", timeout=5):
            return True
    except OSError:
        return False


def _stop(local: LocalSageMaker) -> None:
    """It ends its containers within ten seconds of SIGTERM."""
    local.process.send_signal(signal.SIGTERM)
    try:
        local.process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(local.process.pid, signal.SIGKILL)
        local.process.wait()
        raise ServerError(f"the emulator did not end within {STOP_S:.0f} s of SIGTERM") from None
