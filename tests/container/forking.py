"""The fork server's side of one zygote, for tests: asks for workers and receives their events."""

import contextlib
import gc
import itertools
import json
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from polyhost.container.config import Config
from polyhost.container.control_protocol import Exited, ForkDescriptors, ForkRequest, Message, ModelRef, Ready, Started
from polyhost.container.forkserver.log_ends import LogReaders
from polyhost.container.forkserver.zygote.handle import ZygoteHandle
from polyhost.container.log import LogDescriptors
from polyhost.container.log_collector.source import EventStream
from polyhost.container.log_formats import to_json
from polyhost.container.worker.status_page import StatusPage, WorkerState
from polyhost.handlers.frameworks import ZygoteSteps
from tests.container.mms_side import Reply, ReplyReader, body_command, load_command
from tests.support.waiting import wait_for

_LOOKS = 10
_BETWEEN_LOOKS_S = 0.1


@contextlib.contextmanager
def zygote_in(folder: Path, *imports: str, warm_ups: tuple[str, ...] = ()) -> Iterator[ZygoteHandle]:
    """Run a zygote whose models are in folder/models and whose log is folder/log."""
    config = Config.from_environ({"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_BASE_DIR": str(folder)})
    with (folder / "log").open("ab") as log:
        descriptors = LogDescriptors.shared(log.fileno())
        zygote = ZygoteHandle("test", ZygoteSteps(imports, warm_ups), config, folder, descriptors)
        zygote.channel.socket.settimeout(120)
        try:
            yield zygote
        finally:
            zygote.close()
            zygote.process.kill()
            zygote.process.wait()
            os.close(descriptors.lock)


def new_descriptors() -> ForkDescriptors:
    """Return descriptors for a fork request whose worker is of no interest: its front end has hung up."""
    logs, writers = LogReaders.with_writers()
    logs.close()
    mms, connection = socket.socketpair()
    mms.close()
    return ForkDescriptors(connection.detach(), writers.output, writers.events, StatusPage.create())


def descriptors_of(pid: int | str = "self") -> list[str]:
    """Return what a process's descriptors are open on, without the one that lists them.

    And without connections over TCP: emulators of earlier tests in this process make and end some at any time.
    """
    if pid == "self":
        gc.collect()  # earlier tests may have left descriptors to it
    links = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links.append(str(path.readlink()))
    connections = _tcp_sockets()
    return [link for link in links if link not in connections]


def _tcp_sockets() -> set[str]:
    """Return the links of all sockets of TCP; the tenth column has the inode (proc(5))."""
    tables = [table for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")) if table.exists()]
    lines = [line for table in tables for line in table.read_text().splitlines()[1:]]
    return {f"socket:[{line.split()[9]}]" for line in lines}


def opened_since(before: list[str]) -> list[str]:
    """Return what this process has opened since `descriptors_of` gave `before`, and not closed.

    Not how many it has more: threads and objects of earlier tests may close theirs meanwhile. Nor at one instant: an
    emulator of an earlier test may just be reading a file.
    """
    opened = Counter(descriptors_of()) - Counter(before)
    for _ in range(_LOOKS):
        if not opened:
            break
        time.sleep(_BETWEEN_LOOKS_S)
        opened &= Counter(descriptors_of()) - Counter(before)
    return list(opened.elements())


class Forks:
    """Reads the zygote's messages on behalf of the workers."""

    def __init__(self, zygote: ZygoteHandle, folder: Path) -> None:
        """Ask for nothing yet; `ready` waits for the zygote's warm-ups."""
        self.zygote = zygote
        self.models_dir = folder / "models"
        self._folder = folder
        self._sequences = itertools.count(1)
        self._received: list[Message] = []
        (folder / "io").mkdir()

    @cached_property
    def ready(self) -> Ready:
        """The zygote's message that it is ready, for which this waits."""
        while not (found := [message for message in self._received if isinstance(message, Ready)]):
            self._received.append(self._receive())
        return found[0]

    def fork(self, directory: Path, **request: Any) -> "ForkedWorker":
        sequence = next(self._sequences)
        temp_dir = self._folder / f"temp-{sequence}"
        temp_dir.mkdir()
        mms, theirs = socket.socketpair()
        logs, writers = LogReaders.with_writers()
        page = StatusPage.create()
        fields = {
            "sequence": sequence, "model": ModelRef(directory.name, str(directory), "handle.py"),
            "temp_dir": str(temp_dir), "io_dir": str(self._folder / "io"), **request,
        }  # fmt: skip
        status = StatusPage(page)
        descriptors = ForkDescriptors(theirs.detach(), writers.output, writers.events, page)
        self.zygote.fork(ForkRequest(**fields), descriptors)
        started = self.wait_for(Started, sequence)
        self.zygote.complete(sequence)
        return ForkedWorker(self, sequence, started.pid, mms, logs, status, directory)

    def wait_for(self, kind: type[Any], sequence: int) -> Any:
        """Return the zygote's next message of this kind about this worker; other messages are kept."""
        while True:
            for message in self._received:
                if isinstance(message, kind) and message.sequence == sequence:
                    self._received.remove(message)
                    return message
            self._received.append(self._receive())

    def events(self, **fields: Any) -> list[dict[str, Any]]:
        events = [json.loads(line) for line in (self._folder / "log").read_text().splitlines()]
        return [event for event in events if all(event.get(name) == value for name, value in fields.items())]

    def _receive(self) -> Message:
        received = self.zygote.channel.receive()
        assert received is not None, "the zygote has ended"
        return received[0]


class ForkedWorker:
    """One worker and the front end's end of its connection."""

    def __init__(
        self,
        forks: Forks,
        sequence: int,
        pid: int,
        mms: socket.socket,
        logs: LogReaders,
        status: StatusPage,
        directory: Path,
    ) -> None:
        self.pid = pid
        self.mms = mms
        self.status = status
        self.directory = directory
        self._forks = forks
        self._sequence = sequence
        self._logs = logs
        events, self._output = logs.descriptors
        self._stream = EventStream(pid, directory.name, os.dup(events))
        self._logged: list[dict[str, Any]] = []
        self._ended: int | None = None
        mms.settimeout(120)
        self._replies = ReplyReader(mms)

    def load(self, **options: Any) -> Reply:
        self.send_load(**options)
        return self.reply()

    def send_load(self, **options: Any) -> None:
        self.mms.sendall(load_command("m", str(self.directory), **options))

    def loaded(self) -> "ForkedWorker":
        reply = self.load()
        assert reply.code == 200, reply
        return self

    def invoke(self, body: bytes = b"", request_id: str = "r1", **headers: str) -> Reply:
        self.mms.sendall(body_command(body, request_id, **headers))
        return self.reply()

    def reply(self) -> Reply:
        return self._replies.read()

    def wait_for_state(self, state: WorkerState) -> None:
        wait_for(lambda: self.status.state == state, f"state {state.name}")

    def wait_for_end(self) -> int:
        """Wait for the exit; return its code, negative for a signal."""
        if self._ended is None:
            self._ended = os.waitstatus_to_exitcode(self._forks.wait_for(Exited, self._sequence).status)
        return self._ended

    def output(self) -> str:
        """Wait for the exit; return what native code printed."""
        self.wait_for_end()
        text = b""
        while piece := os.read(self._output, 65536):
            text += piece
        return text.decode()

    def events(self, **fields: Any) -> list[dict[str, Any]]:
        """Return what the log collector would log of the worker."""
        while found := self._stream.read():
            self._logged += [json.loads(to_json(event)) for event in found]
        return [event for event in self._logged if all(event.get(name) == value for name, value in fields.items())]

    def close(self) -> None:
        self.mms.close()
        with contextlib.suppress(ProcessLookupError):
            if self._ended is None:
                os.kill(self.pid, signal.SIGKILL)
        self.wait_for_end()
        self.status.close()
        self._logs.close()
        self._stream.close()
