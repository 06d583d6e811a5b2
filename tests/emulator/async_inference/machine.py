"""Emulators in processes of their own, one after the other, with the same state."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyhost.processes import ServerProcess, running_emulator
from tests.emulator.conftest import COMMAND, Local
from tests.support.emulator import boto3_client
from tests.support.waiting import wait_for


@dataclass
class EmulatorProcess:
    """An emulator in a process of its own, perhaps with another server's S3."""

    url: str
    process: ServerProcess
    s3: Any = None

    def client(self, service: str, region: str) -> Any:
        return self.s3 if service == "s3" and self.s3 is not None else boto3_client(self.url, service, region)


@dataclass
class Machine:
    """A folder for the state, and emulators one after the other; they may have the S3 at `s3_url`."""

    folder: Path
    s3: Any = None
    s3_url: str = ""
    time_scale: float = 1.0

    @contextmanager
    def emulator(self) -> Iterator[Local]:
        """Run an emulator; it may be killed, but leaves no process behind."""
        command = " ".join(COMMAND)
        options = ["--state", str(self.folder / "state"), "--command", command]
        options += ["--time-scale", str(self.time_scale)]
        options += ["--s3-endpoint", self.s3_url] if self.s3_url else []
        with running_emulator(self.folder, *options) as emulator:
            yield Local(EmulatorProcess(emulator.url, emulator.process, self.s3))
        assert emulator.process.processes() == []

    def kill(self, local: Local) -> str:
        """Send SIGKILL to the emulator alone, and return its log when its containers have ended too."""
        assert isinstance(local.emulator, EmulatorProcess)
        process = local.emulator.process
        process.popen.kill()
        process.popen.wait()
        wait_for(lambda: not process.processes(), "the end of the containers", 60)
        return process.log.read_text()

    def log(self) -> str:
        return (self.folder / "emulator.log").read_text()
