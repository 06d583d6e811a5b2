"""A model of a function: the worker process that serves it, as the runtime's process sees it."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from polyhost.container.control_protocol import ForkDescriptors, ForkRequest, ModelRef
from polyhost.container.errors import Failure, LoadError, WorkerDiedError
from polyhost.container.forkserver.exit_status import explain_death
from polyhost.container.lambda_function.worker_log import WorkerLog
from polyhost.container.lambda_function.zygote import FunctionZygote
from polyhost.container.log_formats import PlainEvent
from polyhost.container.memory.fingerprints import Fingerprint
from polyhost.container.native.decoder import Chunk, GarbledReplyError, LoadReply, Reply, ReplyDecoder, WorkerResponse
from polyhost.container.native.encoder import encode_command
from polyhost.container.worker.protocol import LoadCommand, encode_load
from polyhost.container.worker.status_page import StatusPage, WorkerState

_READ_BYTES = 1 << 16


@dataclass(frozen=True)
class ModelFiles:
    """A model to load: its name for the log, its directory, a folder for its temporary files."""

    name: str
    directory: str
    temp_dir: Path
    fingerprint: Fingerprint


class ModelProcess:
    """Serves one model until `stop`. One call at a time, as a function has."""

    def __init__(self, files: ModelFiles, zygote: FunctionZygote, max_body_bytes: int) -> None:
        self.fingerprint = files.fingerprint
        self.pid: int | None = None
        self.smaps: int | None = None  # this user's own processes can be measured
        self.early = False  # the zygote is waited for
        self.due_for_measuring = False
        self._files = files
        self._zygote = zygote
        self._decoder = ReplyDecoder(max_body_bytes)
        self._resources = contextlib.ExitStack()
        self._log: WorkerLog | None = None
        self._exited: asyncio.Future[int] | None = None

    @property
    def alive(self) -> bool:
        return self._exited is not None and not self._exited.done()

    def on_measured(self) -> None:
        self.due_for_measuring = False

    async def start(self, sequence: int, memory_bytes: int, on_event: Callable[[PlainEvent], None]) -> None:
        """Fork it and load the model, which may allocate so much. Raises LoadError, OSError and ZygoteLostError."""
        files = self._files
        files.temp_dir.mkdir(parents=True, exist_ok=True)
        self._resources.callback(shutil.rmtree, files.temp_dir, ignore_errors=True)
        now = time.monotonic()
        request = ForkRequest(
            sequence,
            ModelRef(files.name, files.directory, ""),
            str(files.temp_dir),
            str(files.temp_dir),
            memory_bytes=memory_bytes,
            launched=now,
            connected=now,
            extended_protocol=True,
        )
        await self._fork(request, on_event)
        await self._send(encode_load(LoadCommand(files.name, files.directory, 1, "", None, "")))
        try:
            reply = await self._reply()
        except WorkerDiedError as error:
            raise LoadError(self._why_not_loaded() or Failure.of(error, files.name, "load")) from error
        if not (isinstance(reply, LoadReply) and reply.code == 200):
            raise LoadError(
                Failure(500, "GarbledAnswerError", f"malformed reply to a load: {reply}", files.name, "load")
            )
        self.due_for_measuring = True

    async def predict(self, invocation: bytes) -> WorkerResponse:
        """Return the response, a streamed one whole. Raises WorkerDiedError, GarbledReplyError, ZygoteLostError."""
        await self._send(b"".join(encode_command([invocation])))
        response = await self._reply()
        if not isinstance(response, WorkerResponse):
            raise GarbledReplyError(f"{type(response).__name__} in place of a response")
        parts = [response.body]
        while response.more:
            chunk = await self._reply()
            if not isinstance(chunk, Chunk):
                raise GarbledReplyError(f"{type(chunk).__name__} in place of a chunk")
            if chunk.failure is not None:  # nothing has been sent to the caller yet, so it gets a status
                headers = [(b"content-type", b"application/json")]
                return WorkerResponse(response.id, 500, b"", headers, chunk.failure)
            if chunk.data is None:
                break
            parts.append(chunk.data)
        response.body = b"".join(parts)
        return response

    def flush_log(self) -> None:
        """Pass on what it has logged: after a call, Lambda may freeze all processes."""
        if self._log is not None:
            self._log.drain()

    async def stop(self) -> None:
        """End the process and all that it has started; may be called twice."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)  # it leads a session of its own
            assert self._exited is not None
            await asyncio.wait([self._exited])
            self.pid = None
        if self._log is not None:
            self._log.close()
        self._resources.close()

    async def _fork(self, request: ForkRequest, on_event: Callable[[PlainEvent], None]) -> None:
        ours, connection = socket.socketpair()
        ours.setblocking(False)
        self._connection = self._resources.enter_context(ours)
        page = StatusPage.create()
        self._status = StatusPage(page)
        self._resources.callback(self._status.close)
        log = self._log = WorkerLog(request.model.name, on_event)
        with connection, log.worker_ends() as (output, events):
            try:
                descriptors = ForkDescriptors(connection.fileno(), output, events, page)
                self.pid, self._exited = await self._zygote.fork(request, descriptors)
            finally:
                os.close(page)
        log.watch(self.pid)

    async def _send(self, data: bytes) -> None:
        try:
            await asyncio.get_running_loop().sock_sendall(self._connection, data)
        except OSError:
            pass  # it has died, as the end of the connection says next
        self._replies: list[Reply] = []

    async def _reply(self) -> Reply:
        while not self._replies:
            try:
                data = await asyncio.get_running_loop().sock_recv(self._connection, _READ_BYTES)
            except ConnectionResetError:
                data = b""
            if not data:
                raise await self._death()
            self._replies += self._decoder.feed(data)
        return self._replies.pop(0)

    async def _death(self) -> WorkerDiedError:
        assert self._exited is not None and self._log is not None
        status = await self._exited
        self._log.drain()
        loading = self._status.state in (WorkerState.STARTING, WorkerState.LOADING, WorkerState.FAILED)
        return explain_death(
            status,
            activity="loading the model" if loading else "predicting",
            oom_killed=False,
            output=self._log.last_lines(),
        )

    def _why_not_loaded(self) -> Failure | None:
        return Failure.read(self._status.payload) if self._status.state is WorkerState.FAILED else None
