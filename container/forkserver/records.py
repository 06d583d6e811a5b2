"""A model and its workers as the fork server holds them, and what it can say in a dead worker's place."""

import contextlib
import os
import select
import shutil
import signal
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from polyhost.container.errors import Failure, WorkerDiedError
from polyhost.container.forkserver.orphans import Orphan
from polyhost.container.memory.estimates import Fingerprint, fingerprint
from polyhost.container.system.line_reader import Lines
from polyhost.container.worker.protocol import (
    SUBSTITUTE_CODE,
    FrontEndConnection,
    LoadCommand,
    ProtocolError,
    encode_load_reply,
    encode_predict_reply,
)
from polyhost.container.worker.status_page import StatusPage, WorkerState
from polyhost.container.worker.types import Response

_REPLY_TIMEOUT_S = 5.0
_KEPT_LINES = 50


@dataclass(kw_only=True)
class HostedModel:
    """One load of one model, from the front end's request until the front end has let go of it."""

    key: int  # the front end's own
    name: str
    directory: Path
    handler: str
    temp_dir: Path
    io_dir: str = ""  # where MMS looks for its workers' output files
    response_timeout_s: float
    framework: str
    launched: float = field(default_factory=time.monotonic)
    workers: "dict[int, WorkerRecord]" = field(default_factory=dict)
    need: int = 0  # bytes of memory, as estimated when it was let in
    deaths: int = 0  # in a row, without an answer in between
    let_go: bool = False  # by the front end
    orphans: list[Orphan] = field(default_factory=list)  # workers of a fork server that died; they serve on

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Computed once: it walks the model directory."""
        return fingerprint(self.framework, self.directory)

    @property
    def serving(self) -> bool:
        """Whether a worker has the model loaded."""
        return any(not worker.loading and worker.failure() is None for worker in self.workers.values())

    @property
    def finished(self) -> bool:
        return self.let_go and not self.workers

    @property
    def code_in_place(self) -> int:
        """Of an answer in a dead worker's place."""
        return SUBSTITUTE_CODE

    def failure_text(self, failure: Failure) -> str:
        """What the front end is told of a load that failed."""
        return failure.to_json().decode()

    def close(self) -> None:
        """Leaves nothing of the model behind: neither its temp folder nor an orphan."""
        for orphan in self.orphans:
            orphan.kill()
            orphan.close()
        shutil.rmtree(self.temp_dir, ignore_errors=True)


@dataclass
class WorkerRecord:
    """One worker and the fork server's copy of its connection, kept to answer in its place should it die."""

    sequence: int
    model: HostedModel
    connection: socket.socket
    status: StatusPage
    output: Lines  # what native code prints
    descriptors: tuple[int, ...]  # the worker's own, which go with the request for a fork
    need: int  # bytes that the load may take
    reload: bool  # took a dead one's place: nobody waits for an answer to its load
    link: int = 0  # the native front end's number for the connection, which worker after worker may serve
    refused: bool = False  # its load was answered with 507
    created: float = field(default_factory=time.monotonic)
    loaded: bool = False  # once so, always so
    missed: int = 0  # rounds in a row in which its process was not there
    gpu_id: int | None = None  # where it was placed
    pid: int | None = None
    seen_busy_ns: int = 0
    measured_answers: int | None = None  # how many it had given when its memory was measured
    timed_out_after_s: float | None = None
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT_LINES))

    @property
    def hung_up(self) -> bool:
        """Whether the front end has closed its end: the model is unloaded, or scaled down."""
        poller = select.poll()
        poller.register(self.connection, 0)  # POLLHUP is told unasked
        return bool(poller.poll(0))

    @property
    def doing(self) -> str:
        match self.status.state:
            case WorkerState.STARTING | WorkerState.LOADING | WorkerState.FAILED:
                return "loading the model"
            case WorkerState.READING | WorkerState.BUSY | WorkerState.RESPONDING | WorkerState.STREAMING:
                return "answering a request"
        return "idle"

    @property
    def at_rest(self) -> bool:
        """Whether the exit status is ours: in a model's hands, its code may have chosen the same number."""
        return self.status.state in (WorkerState.BACKING_OFF, WorkerState.IDLE)

    @property
    def loading(self) -> bool:
        """Asked of all workers at every load."""
        self.loaded = self.loaded or self.status.state not in (WorkerState.STARTING, WorkerState.LOADING)
        return not self.loaded

    @property
    def fingerprint(self) -> Fingerprint:
        return self.model.fingerprint

    @property
    def due_for_measuring(self) -> bool:
        if self.status.state != WorkerState.IDLE:
            return False
        return self.measured_answers is None or (self.measured_answers == 0 and self.status.counters[1] > 0)

    def on_measured(self) -> None:
        self.measured_answers = self.status.counters[1]

    @property
    def since(self) -> float:
        """When it entered its state; one that has entered none yet, when it was asked for."""
        return self.status.since or self.created

    def busy_ns(self) -> int:
        """Nanoseconds that it has been busy, with the request in hand; never less than it was the last time.

        Between a request and its entry in the counters, while the answer is sent, neither would tell of it.
        """
        status = self.status
        running_s = (
            time.monotonic() - status.since if status.state in (WorkerState.BUSY, WorkerState.STREAMING) else 0.0
        )
        self.seen_busy_ns = max(self.seen_busy_ns, status.counters[0] + int(max(0.0, running_s) * 1e9))
        return self.seen_busy_ns

    def vanished(self) -> bool:
        """Gone for two rounds without anybody's word, as when its zygote died between reaping and telling."""
        self.missed = self.missed + 1 if self.pid is not None and not _exists(self.pid) else 0
        return self.missed >= 2

    def kill(self) -> None:
        """The worker, and whatever it has started."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def failure(self) -> Failure | None:
        """The failed load that the worker left in its status page."""
        return Failure.read(self.status.payload) if self.status.state == WorkerState.FAILED else None

    def read_load_command(self) -> None:
        """In place of a worker that is not forked: it names the files that MMS opens, which have to be removed."""
        self.connection.settimeout(_REPLY_TIMEOUT_S)
        with contextlib.suppress(OSError, ProtocolError):
            command = FrontEndConnection(self.connection).receive()
            if isinstance(command, LoadCommand):
                self.status.remember_load(command.gpu_id, command.batch_size, command.io_name)
        self.connection.settimeout(None)

    def answer_load(self, failure: Failure) -> None:
        self._send(encode_load_reply(failure.code, self.model.failure_text(failure)))

    def answer_requests(self, error: WorkerDiedError) -> bool:
        """Answers what the dead worker had read and not answered. False where the ids are not known."""
        ids = self.status.payload
        if not ids or not isinstance(ids, list) or not all(isinstance(item, str) for item in ids):
            return False
        failure = Failure.of(error, self.model.name, "predict")
        headers = {"content-type": "application/json"}
        responses = [Response(item, failure.code, headers, failure.to_json()) for item in ids]
        self._send(encode_predict_reply(responses, self.model.code_in_place))
        return True

    def read_output(self, *most: int) -> list[str] | None:
        lines = self.output.read(*most)
        self.last_lines.extend(lines or ())
        return lines

    @property
    def closed(self) -> bool:
        return self.connection.fileno() < 0

    def close(self, hang_up: bool) -> None:
        """Hanging up ends the connection for all who hold it, a stray child of the model's too."""
        self._remove_io_files()
        if hang_up:
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()
        self.status.close()
        self.output.close()

    def _send(self, reply: bytes) -> None:
        self.connection.settimeout(_REPLY_TIMEOUT_S)
        with contextlib.suppress(OSError):  # MMS has hung up meanwhile
            self.connection.sendall(reply)
        self.connection.settimeout(None)

    def _remove_io_files(self) -> None:
        if io_name := self.status.io_name:
            for stream in ("stdout", "stderr"):
                with contextlib.suppress(OSError, ValueError):  # a name that MMS would not give
                    (Path(self.model.io_dir) / f"{io_name}-{stream}").unlink()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
