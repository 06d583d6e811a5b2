"""The worker process: serves one model on one connection of the front end; forked from a zygote, ends with it."""

import contextlib
import json
import os
import resource
import select
import socket
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NoReturn

from polyhost.container import log
from polyhost.container.config import Config, Optimization
from polyhost.container.control_protocol import ForkDescriptors, ForkRequest
from polyhost.container.errors import Failure, LoadError, WorkerDiedError
from polyhost.container.isolation.confinement import Confinement
from polyhost.container.system import malloc, prctl, procfs
from polyhost.container.worker import new_python, printed, surroundings
from polyhost.container.worker.model import Model, ModelSpec
from polyhost.container.worker.model_directory import is_within
from polyhost.container.worker.new_python import LoadInProgress
from polyhost.container.worker.protocol import (
    DisconnectedError,
    FrontEndConnection,
    LoadCommand,
    PredictCommand,
    encode_chunk,
    encode_first_chunk,
    encode_last_chunk,
    encode_load_reply,
    encode_loaded_reply,
    encode_predict_reply,
)
from polyhost.container.worker.status_page import LOAD_REPLY, StatusPage, WorkerState
from polyhost.container.worker.types import Request, Response, WorkerExit
from polyhost.events import get_logger
from polyhost.handlers.errors import HandlerNotFoundError

# What a failure may take of the status page, which has room for 3,840 bytes.
_MAX_FAILURE_BYTES = 3800
_MAX_MESSAGE_CHARACTERS = 3000
_MAX_NAME_CHARACTERS = 100

logger = get_logger(__name__)


def become_worker(
    request: ForkRequest,
    descriptors: list[int],
    config: Config,
    confinement: Confinement | None,
    resumed: LoadInProgress | None = None,
) -> int:
    """Serve the model in this forked process until the connection ends; return the exit status.

    `descriptors` are ForkDescriptors; `confinement` is entered before the first file of the model is opened.
    `resumed`: the load that this process goes on with, which was a fork until then.
    """
    connection, output, events, page = ForkDescriptors(*descriptors)
    log.hand_over(events)
    set_up_process(request, output)
    status = StatusPage(page)
    if resumed is not None or not request.isolated:  # a new Python will map it again
        os.close(page)  # the mapping stays
    with socket.socket(fileno=connection) as sock:
        try:
            reads_forms = not request.extended_protocol  # MMS does, the native front end does not
            front_end = FrontEndConnection(sock, config.enabled(Optimization.HEADER_CACHE), reads_forms)
            handed_on = ForkDescriptors(connection, 1, events, page)
            return Worker(request, front_end, status, config, confinement, resumed, handed_on).run()
        except DisconnectedError:
            return 0  # as at an end between two commands
        except SystemExit as error:
            logger.error("the model's code called sys.exit(%r)", error.code, exc_info=error)
            return error.code if isinstance(error.code, int) else int(error.code is not None)
        finally:
            printed.flush()


def set_up_process(request: ForkRequest, output: int) -> None:
    """Give this process what must not be its zygote's, and how the kernel and the fork server are to see it."""
    surroundings.enter(request.model.name, request.temp_dir, output)
    os.close(output)
    # Its zygote is not. It is to be measured, and a fork server that starts anew finds its status page in /proc.
    prctl.set_dumpable(True)
    # If the container runs out of memory all the same, let the kernel kill a worker, not a process that others need.
    # One with the highest score comes before any without, whatever their sizes.
    with contextlib.suppress(OSError):
        procfs.set_oom_score_adj(procfs.MAX_OOM_SCORE_ADJ)
    procfs.mark(request.mark)


class Worker:
    """Reads commands one at a time, executes them, and replies.

    Invariant: the status page is never ahead of the connection. Before a byte of a command is taken from the socket,
    the page says READING; before a byte of a reply is sent, RESPONDING or STREAMING. Hence, if this process dies while
    the page says IDLE or BUSY, the connection is between two messages, and a replacement can go on with it.
    """

    def __init__(
        self,
        request: ForkRequest,
        connection: FrontEndConnection,
        status: StatusPage,
        config: Config,
        confinement: Confinement | None = None,
        resumed: LoadInProgress | None = None,
        descriptors: ForkDescriptors | None = None,
    ) -> None:
        """`descriptors`: for a new Python, if the request asks for one."""
        self._request = request
        self._connection = connection
        self._status = status
        self._config = config
        self._confinement = confinement
        self._resumed = resumed
        self._descriptors = descriptors
        self._model: Model | None = None
        self._forked = time.monotonic() if resumed is None else resumed.forked
        self._timeline: dict[str, float] = {}  # of the load, in milliseconds

    def run(self) -> int:
        """Serve until the front end closes the connection, or the load fails; return the exit status."""
        if self._request.backoff_s:
            return self._back_off()
        if self._resumed is not None:
            if not self._resume_load(self._resumed):
                return WorkerExit.LOAD_FAILED
        elif self._request.reload:
            if not self._load(self._request.gpu_id, self._request.batch_size):
                return WorkerExit.LOAD_FAILED
            self._status.enter(WorkerState.IDLE)
        while (command := self._receive()) is not None:
            if isinstance(command, PredictCommand):
                self._predict(command)
            elif not self._execute_load(command):
                return WorkerExit.LOAD_FAILED
        return 0

    def _receive(self) -> LoadCommand | PredictCommand | None:
        if not self._connection.wait_for_command():
            return None
        # Where the load command itself is cut off, STARTING already says that there is no model yet.
        if self._status.state != WorkerState.STARTING:
            self._status.enter(WorkerState.READING)
        return self._connection.receive()

    # Load

    def _execute_load(self, command: LoadCommand) -> bool:
        # The fork server's choice of a GPU comes first: MMS assigns them in turn, whatever is on them.
        gpu_id = command.gpu_id if self._request.gpu_id is None else self._request.gpu_id
        self._status.remember_load(gpu_id, command.batch_size, command.io_name)
        self._create_io_files(command.io_name)
        if not self._load(gpu_id, command.batch_size):
            return False
        self._reply_to_load()
        return True

    def _resume_load(self, load: LoadInProgress) -> bool:
        """Go on with a load in this new Python."""
        if not self._load(load.gpu_id, load.batch_size, load.commanded):
            return False
        if self._request.reload:
            self._status.enter(WorkerState.IDLE)
        else:
            self._reply_to_load()
        return True

    def _reply_to_load(self) -> None:
        extended = self._request.extended_protocol
        reply = encode_load_reply(200, json.dumps(self._timeline)) if extended else encode_loaded_reply(os.getpid())
        self._status.enter(WorkerState.RESPONDING, LOAD_REPLY)
        self._connection.send(reply)
        self._status.enter(WorkerState.IDLE)

    def _load(self, gpu_id: int | None, batch_size: int, commanded: float | None = None) -> bool:
        """Load the model, in a new Python if it needs one; return False if that failed. `commanded`: since when.

        The failure is left in the status page, and the fork server replies: MMS must see its launcher end first.
        After a success the page still says LOADING: if the process dies before its reply, the load has failed.
        """
        commanded = commanded or time.monotonic()
        self._status.enter(WorkerState.LOADING)
        ref = self._request.model
        layer = Path(self._request.layer) if self._request.layer else None
        spec = ModelSpec(ref.name, Path(ref.directory), ref.handler, self._config.handler, batch_size, gpu_id, layer)
        try:
            self._enter_directory(spec)
            if self._request.isolated and self._resumed is None:
                self._go_on_in_new_python(spec, LoadInProgress(self._forked, commanded, gpu_id, batch_size))
            with _limited_memory(self._request.memory_bytes if gpu_id is None else None):
                self._model = Model.load(spec, self._config.max_payload_bytes)
        except LoadError as error:
            self._status.enter(WorkerState.FAILED, _encode_failure(error.failure))
            return False
        self._log_timeline(commanded)
        return True

    def _log_timeline(self, commanded: float) -> None:
        """Keep and log the load's phases: until the connection, the fork, the command, and the handler's own time.

        Of a load that had to wait for its packages, also for how long.
        """
        request, now = self._request, time.monotonic()
        connected = request.connected - request.waited_s
        starts = {"connect": request.launched, "fork": request.connected, "command": self._forked, "handler": commanded}
        ends = [connected, self._forked, commanded, now]
        self._timeline = {
            name: round((end - start) * 1000, 1) for (name, start), end in zip(starts.items(), ends, strict=True)
        }
        if request.waited_s:
            self._timeline["requirements"] = round(request.waited_s * 1000, 1)
        total = round((now - request.launched) * 1000, 1)
        logger.info("loaded", extra={"phase": "load", "duration_ms": total, "details": {"timeline_ms": self._timeline}})

    def _enter_directory(self, spec: ModelSpec) -> None:
        """Enter the confinement, and make the model's directory the current one.

        Raises LoadError if the directory is not below BASE/models.
        """
        if not is_within(spec.directory, self._config.model_roots):
            models_dir = self._config.models_dir
            error = HandlerNotFoundError(f"{spec.directory} is not below {models_dir} (SAGEMAKER_BASE_DIR)")
            logger.error("%s", error, extra={"phase": "load"})
            raise LoadError(Failure.of(error, spec.name, "load"))
        try:
            if self._confinement is not None:
                self._confinement.enter(spec.directory, Path(self._request.temp_dir), self._request.user, spec.layer)
            os.chdir(spec.directory)
        except OSError as error:
            logger.exception("cannot enter the model's directory", extra={"phase": "load"})
            raise LoadError(Failure.of(error, spec.name, "load")) from error

    def _go_on_in_new_python(self, spec: ModelSpec, load: LoadInProgress) -> NoReturn:
        """Execute a new Python in this process, which is confined. Raises LoadError."""
        assert self._descriptors is not None
        try:
            new_python.execute(self._request, self._descriptors, self._config, load)
        except OSError as error:
            logger.exception("cannot execute a new Python", extra={"phase": "load"})
            raise LoadError(Failure.of(error, spec.name, "load")) from error

    def _create_io_files(self, io_name: str) -> None:
        """Create the two files that MMS opens for a worker's output, as links to /dev/null.

        MMS keeps a thread on each until the file's end. The output takes another way here; /dev/null ends at once, and
        with it the threads.
        """
        for stream in ("stdout", "stderr") if io_name else ():
            with contextlib.suppress(FileExistsError):
                (Path(self._request.io_dir) / f"{io_name}-{stream}").symlink_to(os.devnull)

    # Predict

    def _predict(self, command: PredictCommand) -> None:
        is_first = self._status.counters[1] == 0
        if command.burst:
            last = command.requests[-1]
            for request in command.requests:
                self._predict_batch([request], WorkerState.IDLE if request is last else WorkerState.READING)
        else:
            self._predict_batch(command.requests, WorkerState.IDLE)
        if is_first:
            malloc.trim()  # a first prediction leaves more free memory behind than any other: a ResNet's, 16 MB

    def _predict_batch(self, requests: list[Request], next_state: WorkerState) -> None:
        model = self._model
        assert model is not None, "front ends send requests after the load's reply only"
        self._status.enter_busy([request.id for request in requests])
        responses = model.predict(requests)
        chunks = responses[0].chunks
        if chunks is not None and self._request.extended_protocol and len(responses) == 1:
            self._stream(model, requests[0], responses[0], chunks, next_state)
        else:
            self._reply([model.buffered(*pair) for pair in zip(requests, responses, strict=True)], next_state)

    def _stream(
        self, model: Model, request: Request, response: Response, chunks: Iterator[bytes], next_state: WorkerState
    ) -> None:
        """Send each chunk as soon as the handler yields it. A failure from here on cannot have an HTTP status."""
        since = self._status.since
        self._status.enter(WorkerState.STREAMING)
        self._connection.send(encode_first_chunk(response))
        with log.bound(request_id=request.id, target_model=request.target_model):
            failure = self._send_chunks(model, request, chunks)
            printed.flush()
        self._connection.send(encode_last_chunk(failure))
        self._status.count_reply(since, next_state)

    def _send_chunks(self, model: Model, request: Request, chunks: Iterator[bytes]) -> bytes | None:
        """Return the failure that ended the stream early, if any."""
        while not self._connection.is_cancelled(request.id):
            try:
                chunk = next(chunks, None)
            except Exception as error:
                return model.stream_failure(request, error).body
            if chunk is None:
                return None
            if chunk:  # an empty one would be the end
                self._connection.send(encode_chunk(chunk))
        if isinstance(chunks, Generator):
            try:
                chunks.close()  # runs the handler's `finally` now, not at some garbage collection
            except Exception:
                logger.exception("the handler failed to close a response whose client had disconnected")
        return None

    def _reply(self, responses: list[Response], next_state: WorkerState = WorkerState.IDLE) -> None:
        reply = encode_predict_reply(responses)
        since = self._status.since
        self._status.enter(WorkerState.RESPONDING)
        self._connection.send(reply)
        self._status.count_reply(since, next_state)

    # Back-off

    def _back_off(self) -> int:
        """Respond with the reason for a while, since the model died several times in a row; return the exit status.

        Without this, each request would cost another death. When the time is over, this process ends at the first
        request and leaves it in the socket, for a replacement that loads the model.
        """
        self._status.enter(WorkerState.BACKING_OFF)
        until = time.monotonic() + self._request.backoff_s
        failure = Failure.of(WorkerDiedError(self._request.reason, 503), self._request.model.name, "load")
        headers = {"content-type": "application/json"}
        while True:
            select.select([self._connection.socket], [], [])
            if time.monotonic() >= until:
                return WorkerExit.BACKOFF_OVER
            command = self._receive()
            if command is None:
                return 0
            assert isinstance(command, PredictCommand)
            self._status.enter_busy([request.id for request in command.requests])
            self._reply([Response(request.id, 503, headers, failure.to_json()) for request in command.requests])


@contextlib.contextmanager
def _limited_memory(allowance: int | None) -> Iterator[None]:
    """Let this process allocate `allowance` bytes more; beyond them it gets MemoryError, before the kernel kills it.

    RLIMIT_DATA counts private writable memory, touched or not (getrlimit(2)). None, as with a GPU, sets no limit: CUDA
    reserves far more than it uses.
    """
    if allowance is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    # In memory pages: size, resident, shared, text, lib, data (proc(5)).
    data = int(Path("/proc/self/statm").read_bytes().split()[5]) * resource.getpagesize()
    limit = data + max(0, allowance)
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _encode_failure(failure: Failure) -> bytes:
    """Encode a failure as JSON that fits into the status page; its texts are cut where needed."""
    message = failure.message
    if len(message) > _MAX_MESSAGE_CHARACTERS:
        message = message[:_MAX_MESSAGE_CHARACTERS] + "..."
    type_, model, phase = (text[:_MAX_NAME_CHARACTERS] for text in (failure.type, failure.model, failure.phase))
    while True:
        encoded = Failure(failure.code, type_, message, model, phase).to_json()
        if len(encoded) <= _MAX_FAILURE_BYTES:
            return encoded
        message = message[: len(message) // 2]  # a character may take up to six bytes
