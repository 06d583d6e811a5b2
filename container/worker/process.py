"""The process that serves one model on one connection of the front end's: forked from a zygote, ended with it."""

import contextlib
import faulthandler
import gc
import json
import logging
import os
import random
import resource
import select
import socket
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path

from polyhost.container import log
from polyhost.container.config import Config
from polyhost.container.control_protocol import ForkDescriptors, ForkRequest
from polyhost.container.errors import Failure, LoadError, WorkerDiedError
from polyhost.container.system import malloc
from polyhost.container.system.procfs import mark
from polyhost.container.worker.model import Model, ModelSpec
from polyhost.container.worker.model_directory import is_within
from polyhost.container.worker.protocol import (
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
from polyhost.container.worker.status_page import StatusPage, WorkerState
from polyhost.container.worker.types import Request, Response
from polyhost.handlers import frameworks
from polyhost.handlers.errors import HandlerNotFoundError

EXIT_LOAD_FAILED = 70  # the failure stands in the status page
EXIT_BACKOFF_OVER = 75  # a resting worker's time is over: fork one that loads the model

logger = logging.getLogger("polyhost.worker")


def become_worker(request: ForkRequest, descriptors: list[int], config: Config) -> int:
    """Runs in the forked child and returns its exit status. The descriptors are those of ForkRequest."""
    connection, native_output, page = ForkDescriptors(*descriptors)
    _take_over(request, native_output)
    log.bind(model=request.model.name, pid=os.getpid())
    log.capture_prints()
    status = StatusPage(page)
    os.close(page)  # the mapping has a descriptor of its own
    with socket.socket(fileno=connection) as sock:
        try:
            return Worker(request, FrontEndConnection(sock), status, config).run()
        except SystemExit as error:
            logger.error("the model's code called sys.exit(%r)", error.code)
            return error.code if isinstance(error.code, int) else int(error.code is not None)
        finally:
            log.close_printed_lines()


def _take_over(request: ForkRequest, native_output: int) -> None:
    """What makes this process the model's own: its output, temp folder, and randomness."""
    for standard in (1, 2):
        os.dup2(native_output, standard)
    os.close(native_output)
    faulthandler.enable(2)  # a segmentation fault leaves its Python traceback with the fork server
    # Should the container run out of memory all the same, the kernel's choice is a worker and not what all depend on.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
    mark(request.mark)
    os.environ["TMPDIR"] = request.temp_dir
    tempfile.tempdir = None
    _reseed()
    gc.enable()


def _reseed() -> None:
    """Forks of one zygote would all draw the same random numbers."""
    random.seed()
    frameworks.reseed(int.from_bytes(os.urandom(4), "little"))


class Worker:
    """Reads MMS's commands one at a time and answers them; keeps the status page true."""

    def __init__(
        self, request: ForkRequest, connection: FrontEndConnection, status: StatusPage, config: Config
    ) -> None:
        self._request = request
        self._connection = connection
        self._status = status
        self._config = config
        self._model: Model | None = None
        self._forked = time.monotonic()
        self._timeline: dict[str, float] = {}

    def run(self) -> int:
        if self._request.backoff_s:
            return self._rest()
        if self._request.reload and not self._load(self._request.gpu_id, self._request.batch_size):
            return EXIT_LOAD_FAILED
        while (command := self._receive()) is not None:
            if isinstance(command, PredictCommand):
                self._predict(command)
            elif not self._load_for(command):
                return EXIT_LOAD_FAILED
        return 0

    def _receive(self) -> LoadCommand | PredictCommand | None:
        if not self._connection.wait():
            return None
        if self._status.state != WorkerState.STARTING:
            self._status.enter(WorkerState.READING)
        return self._connection.receive()

    def _load_for(self, command: LoadCommand) -> bool:
        # MMS deals GPUs out in turn, whatever is on them.
        gpu_id = command.gpu_id if self._request.gpu_id is None else self._request.gpu_id
        self._status.remember_load(gpu_id, command.batch_size, command.io_name)
        self._make_io_files(command.io_name)
        if not self._load(gpu_id, command.batch_size):
            return False
        self._status.enter(WorkerState.RESPONDING)
        self._connection.send(
            encode_load_reply(200, json.dumps(self._timeline))
            if self._request.extended_protocol
            else encode_loaded_reply(os.getpid())
        )
        self._status.enter(WorkerState.IDLE)
        return True

    def _load(self, gpu_id: int | None, batch_size: int) -> bool:
        """False where it failed. The fork server answers then: MMS must see its launcher gone first."""
        commanded = time.monotonic()
        self._status.enter(WorkerState.LOADING)
        request = self._request
        spec = ModelSpec(request.model.name, Path(request.model.directory), request.model.handler, batch_size, gpu_id)
        try:
            self._enter_folder(spec)
            with _bounded_memory(request.memory_bytes if gpu_id is None else None):
                self._model = Model.load(spec, self._config.max_payload_bytes)
        except LoadError as error:
            self._status.enter(WorkerState.FAILED, _fitting(error.failure))
            return False
        self._status.enter(WorkerState.IDLE)
        self._report(commanded)
        return True

    def _report(self, commanded: float) -> None:
        """The load's timeline in ms: MMS connects to its socket, the fork, MMS's command, the handler's own time."""
        request, now = self._request, time.monotonic()
        times = {"connect": request.launched, "fork": request.connected, "command": self._forked, "handler": commanded}
        ends = [request.connected, self._forked, commanded, now]
        self._timeline = {
            name: round((end - start) * 1000, 1) for (name, start), end in zip(times.items(), ends, strict=True)
        }
        total = round((now - request.launched) * 1000, 1)
        logger.info("loaded", extra={"phase": "load", "duration_ms": total, "details": {"timeline_ms": self._timeline}})

    def _enter_folder(self, spec: ModelSpec) -> None:
        """Multi-model archives lie below BASE/models; what lies elsewhere is not SageMaker's to ask for."""
        models_dir = self._config.models_dir
        if not is_within(spec.directory, models_dir):
            refusal = HandlerNotFoundError(f"{spec.directory} is not below {models_dir} (SAGEMAKER_BASE_DIR)")
            logger.error("%s", refusal, extra={"phase": "load"})
            raise LoadError(Failure.of(refusal, spec.name, "load"))
        os.chdir(spec.directory)

    def _predict(self, command: PredictCommand) -> None:
        first = self._status.counters[1] == 0
        if command.burst:
            last = command.requests[-1]
            for request in command.requests:
                self._predict_together([request], WorkerState.IDLE if request is last else WorkerState.READING)
        else:
            self._predict_together(command.requests, WorkerState.IDLE)
        if first:
            malloc.trim()  # a first call leaves more behind than any other: a ResNet's, 16 MB

    def _predict_together(self, requests: list[Request], afterwards: WorkerState) -> None:
        model = self._model
        assert model is not None, "no front end sends a request before its load command was answered"
        self._status.busy([request.id for request in requests])
        responses = model.predict(requests)
        pieces = responses[0].chunks
        if pieces is not None and self._request.extended_protocol and len(responses) == 1:
            self._stream(requests[0], responses[0], pieces, afterwards)
        else:
            self._answer([model.buffered(*pair) for pair in zip(requests, responses, strict=True)], afterwards)

    def _stream(self, request: Request, response: Response, pieces: Iterator[bytes], afterwards: WorkerState) -> None:
        """Each piece goes out when it is there. What fails now can no longer have a status."""
        assert self._model is not None
        since = self._status.since
        self._status.enter(WorkerState.STREAMING)
        self._connection.send(encode_first_chunk(response))
        with log.bound(request_id=request.id, target_model=request.target_model):
            failure = self._send_pieces(self._model, request, pieces)
        self._connection.send(encode_last_chunk(failure))
        self._status.answered(since, afterwards)

    def _send_pieces(self, model: Model, request: Request, pieces: Iterator[bytes]) -> bytes | None:
        """The failure that ended them early."""
        while not self._connection.wants_no_more(request.id):
            try:
                piece = next(pieces, None)
            except Exception as error:
                return model.stream_failure(request, error).body
            if piece is None:
                return None
            if piece:  # one of no bytes would be the end
                self._connection.send(encode_chunk(piece))
        if isinstance(pieces, Generator):
            try:
                pieces.close()  # the handler's `finally` runs now, not some day
            except Exception:
                logger.exception("the handler failed when its client had left")
        return None

    def _answer(self, responses: list[Response], afterwards: WorkerState = WorkerState.IDLE) -> None:
        reply = encode_predict_reply(responses)
        since = self._status.since
        self._status.enter(WorkerState.RESPONDING)
        self._connection.send(reply)
        self._status.answered(since, afterwards)

    def _make_io_files(self, io_name: str) -> None:
        """MMS opens two files for the worker's output and keeps a thread on each until its end.

        The output goes another way here; on /dev/null the threads meet the end at once and are gone.
        """
        for stream in ("stdout", "stderr") if io_name else ():
            with contextlib.suppress(FileExistsError):
                (Path(self._request.io_dir) / f"{io_name}-{stream}").symlink_to(os.devnull)

    def _rest(self) -> int:
        """The model died several times in a row: say so at once, instead of dying again at every request."""
        self._status.enter(WorkerState.BACKING_OFF)
        until = time.monotonic() + self._request.backoff_s
        while True:
            select.select([self._connection.socket], [], [])
            if time.monotonic() >= until:
                return EXIT_BACKOFF_OVER
            command = self._receive()
            if command is None:
                return 0
            assert isinstance(command, PredictCommand)
            self._status.busy([request.id for request in command.requests])
            failure = Failure.of(WorkerDiedError(self._request.reason, 503), self._request.model.name, "load")
            self._answer(
                [
                    Response(request.id, 503, {"content-type": "application/json"}, failure.to_json())
                    for request in command.requests
                ]
            )


@contextlib.contextmanager
def _bounded_memory(allowance: int | None) -> Iterator[None]:
    """Lets the load take so many bytes; beyond them allocation fails, as MemoryError, before the kernel kills.

    RLIMIT_DATA counts private writable memory, touched or not (getrlimit(2)). Not with a GPU: CUDA reserves far more
    than it uses.
    """
    if allowance is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    # In pages: size, resident, shared, text, lib, data (proc(5)).
    data = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    bound = data + max(0, allowance)
    resource.setrlimit(resource.RLIMIT_DATA, (bound if hard == resource.RLIM_INFINITY else min(bound, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _fitting(failure: Failure) -> bytes:
    """The failure as JSON, its texts cut to what the status page holds."""
    room = 3000
    message = failure.message if len(failure.message) <= room else failure.message[:room] + "..."
    model, type_, phase = failure.model[:100], failure.type[:100], failure.phase[:100]
    encoded = Failure(failure.code, type_, message, model, phase).to_json()
    if len(encoded) <= 3800:
        return encoded
    return _fitting(Failure(failure.code, type_, message[: len(message) // 2], model, phase))
