"""The fork server's records of models and workers, with the lifecycles of both."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from pathlib import Path

from polyhost.container.control_protocol import ForkDescriptors, ModelRef
from polyhost.container.errors import Failure, WorkerDiedError
from polyhost.container.forkserver.connection_copy import ConnectionCopy
from polyhost.container.forkserver.log_ends import LogReaders
from polyhost.container.forkserver.survivors import Survivor
from polyhost.container.memory.fingerprints import Fingerprint
from polyhost.container.system.procfs import with_descendants
from polyhost.container.worker.protocol import encode_load_reply, encode_predict_reply
from polyhost.container.worker.status_page import LOAD_REPLY, StatusPage, WorkerState
from polyhost.container.worker.types import Response


class ModelLifecycle(Enum):
    """The life of one load of a model, in the fork server."""

    OPEN = "open"  # the front end has it
    CLOSING = "closing"  # the front end has closed it; workers are left, which are even replaced if they die
    CLOSED = "closed"  # no process and no file is left


_MODEL_TRANSITIONS: dict[ModelLifecycle, frozenset[ModelLifecycle]] = {
    ModelLifecycle.OPEN: frozenset({ModelLifecycle.CLOSING}),
    ModelLifecycle.CLOSING: frozenset({ModelLifecycle.CLOSED}),
    ModelLifecycle.CLOSED: frozenset(),
}


class WorkerLifecycle(Enum):
    """The life of one worker, in the fork server. What its process is doing is in the status page (WorkerState)."""

    NEW = "new"  # there is a connection, and no process has been asked for
    FORKING = "forking"  # a zygote has been asked
    RUNNING = "running"  # the process has started
    ENDED = "ended"  # there is no process any more; the connection is open for a reply on its behalf
    REJECTED = "rejected"  # its load was rejected with 507; the connection is open until the front end hangs up
    RELEASED = "released"  # the connection and everything else is closed


_WORKER_TRANSITIONS: dict[WorkerLifecycle, frozenset[WorkerLifecycle]] = {
    # RUNNING: a survivor. REJECTED or RELEASED: not admitted.
    WorkerLifecycle.NEW: frozenset(
        {WorkerLifecycle.FORKING, WorkerLifecycle.RUNNING, WorkerLifecycle.REJECTED, WorkerLifecycle.RELEASED}
    ),
    # ENDED: no process could be forked, or it ended before it could report its start.
    WorkerLifecycle.FORKING: frozenset({WorkerLifecycle.RUNNING, WorkerLifecycle.ENDED}),
    WorkerLifecycle.RUNNING: frozenset({WorkerLifecycle.ENDED}),
    WorkerLifecycle.ENDED: frozenset({WorkerLifecycle.REJECTED, WorkerLifecycle.RELEASED}),
    WorkerLifecycle.REJECTED: frozenset({WorkerLifecycle.RELEASED}),
    WorkerLifecycle.RELEASED: frozenset(),
}


@dataclass(frozen=True)
class LayerRef:
    """A layer as a model's workers find it."""

    site: str  # the folder for the search path
    isolated: bool  # whether it takes a new Python


@dataclass(kw_only=True)
class HostedModel:
    """One load of one model, from the front end's request until nothing of it is left."""

    key: int  # the front end's own
    ref: ModelRef
    temp_dir: Path
    io_dir: str = ""  # where MMS looks for its workers' output files
    user: int | None = None  # its own, whom its workers become
    response_timeout_s: float
    framework: str
    layer: LayerRef | None = None  # the packages that its archive asks for, once they are there
    fingerprint: Fingerprint = field(init=False)  # taken by the host, before the model's code runs
    lifecycle: ModelLifecycle = ModelLifecycle.OPEN
    launched: float = field(default_factory=time.monotonic)
    workers: "dict[int, WorkerRecord]" = field(default_factory=dict)  # those with a process, by sequence number
    need: int = 0  # bytes of memory, as estimated when it was admitted
    deaths: int = 0  # in a row, without a response in between
    survivors: list[Survivor] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The front end's name for it."""
        return self.ref.name

    @cached_property
    def directory(self) -> Path:
        """The model directory."""
        return Path(self.ref.directory)

    @property
    def is_open(self) -> bool:
        """Whether the front end has it."""
        return self.lifecycle is ModelLifecycle.OPEN

    @property
    def is_loaded(self) -> bool:
        """Whether one of its workers has it loaded."""
        return any(not worker.loading and worker.failure() is None for worker in self.workers.values())

    @property
    def can_be_closed(self) -> bool:
        """Whether the front end has closed it and its last worker has ended."""
        return self.lifecycle is ModelLifecycle.CLOSING and not self.workers

    def enter(self, lifecycle: ModelLifecycle) -> None:
        """Change the lifecycle's state."""
        assert lifecycle in _MODEL_TRANSITIONS[self.lifecycle], f"{self.name}: {self.lifecycle} -> {lifecycle}"
        self.lifecycle = lifecycle

    def close(self) -> None:
        """Kill the survivors."""
        self.enter(ModelLifecycle.CLOSED)
        for survivor in self.survivors:
            survivor.kill()
            survivor.close()


@dataclass(kw_only=True)
class WorkerRecord:
    """One worker, with the fork server's copies of its connection and status page."""

    # Its identity
    sequence: int  # one number for each process; a replacement has a new one
    model: HostedModel
    connection_number: int  # the native front end's, the same for one worker after another on the connection
    reload: bool = False  # replaces a worker that died: the front end does not wait for its load

    # What is shared with it
    connection: ConnectionCopy
    status: StatusPage
    logs: LogReaders | None  # None for a survivor
    descriptors: ForkDescriptors | None = None  # its own; open here until it has started, None for a survivor
    smaps: int | None = None  # its memory, as a file that it has opened, if it has become another user

    # What is known of it
    need: int = 0  # bytes that the load may take
    gpu_id: int | None = None  # where it was placed
    lifecycle: WorkerLifecycle = WorkerLifecycle.NEW
    pid: int | None = None
    early: bool = False  # forked before its zygote's warm-ups: it shares less memory with it
    created: float = field(default_factory=time.monotonic)
    waited_s: float = 0.0  # for its model's packages, before its process was asked for
    timed_out_after_s: float | None = None  # the deadline for which it was killed
    killed_for: WorkerDiedError | None = None  # what else it was killed for
    last_lines: Sequence[str] = ()  # of what native code has printed, once it has ended
    _loaded: bool = False  # cached, for the status page is read for it at every load
    _busy_ns: int = 0
    _measured_responses: int | None = None  # how many it had given when its memory was measured

    def enter(self, lifecycle: WorkerLifecycle) -> None:
        """Change the lifecycle's state."""
        assert lifecycle in _WORKER_TRANSITIONS[self.lifecycle], f"{self.sequence}: {self.lifecycle} -> {lifecycle}"
        self.lifecycle = lifecycle

    @property
    def has_process(self) -> bool:
        """Whether its process runs or is being forked."""
        return self.lifecycle in (WorkerLifecycle.FORKING, WorkerLifecycle.RUNNING)

    @property
    def is_released(self) -> bool:
        """Whether its connection is closed."""
        return self.lifecycle is WorkerLifecycle.RELEASED

    # What the status page says. A model's code can write to the page, so nothing in it is certain.

    @property
    def activity(self) -> str:
        """What it is doing, for "the worker died while ..."."""
        if self.phase == "load":
            return "loading the model"
        match self.status.state:
            case WorkerState.READING | WorkerState.BUSY | WorkerState.RESPONDING | WorkerState.STREAMING:
                return "handling a request"
        return "idle"

    @property
    def phase(self) -> str:
        """The phase of a failure that its end causes: "load" until the load's reply has been sent, then "predict"."""
        match self.status.state:
            case WorkerState.STARTING | WorkerState.LOADING | WorkerState.FAILED:
                return "load"
            case WorkerState.RESPONDING if self.status.payload == json.loads(LOAD_REPLY):
                return "load"
        return "predict"

    @property
    def runs_our_code(self) -> bool:
        """Whether an exit status is ours. In the model's code, that may have chosen the same number."""
        return self.status.state in (WorkerState.BACKING_OFF, WorkerState.IDLE)

    @property
    def loading(self) -> bool:
        """Whether its first load is not over. All workers are asked at every load."""
        self._loaded = self._loaded or self.status.state not in (WorkerState.STARTING, WorkerState.LOADING)
        return not self._loaded

    @property
    def has_responded(self) -> bool:
        """Whether it has handled a request."""
        return self.status.counters[1] > 0

    @property
    def since(self) -> float:
        """When it entered its state, or was created if it has entered none."""
        return self.status.since or self.created

    def on_waited(self) -> None:
        """Note that the wait for the model's packages is over: the load's own time begins now."""
        now = time.monotonic()
        self.waited_s, self.created = now - self.created, now

    def busy_ns(self) -> int:
        """Return the nanoseconds that it has been busy, those of the current request included; never decreases.

        While a response is sent, its request is neither running nor in the page's counters yet.
        """
        status, running_s = self.status, 0.0
        if status.state in (WorkerState.BUSY, WorkerState.STREAMING):
            running_s = max(0.0, time.monotonic() - status.since)
        self._busy_ns = max(self._busy_ns, status.counters[0] + int(running_s * 1e9))
        return self._busy_ns

    def failure(self) -> Failure | None:
        """Return the failed load that the worker left in its status page."""
        return Failure.read(self.status.payload) if self.status.state == WorkerState.FAILED else None

    # Measuring its memory: memory.admission.Measurable

    @property
    def fingerprint(self) -> Fingerprint:
        """The identity of its model's files."""
        return self.model.fingerprint

    @property
    def due_for_measuring(self) -> bool:
        """Whether it is idle after the load, or after its first requests."""
        if self.status.state != WorkerState.IDLE:
            return False
        return self._measured_responses is None or (self._measured_responses == 0 and self.has_responded)

    def on_measured(self) -> None:
        """Note that its memory has been measured."""
        self._measured_responses = self.status.counters[1]

    # Replies on its behalf

    def read_load_command(self) -> None:
        """Read the load command on its behalf: it names the files that MMS opens, which have to be removed."""
        if command := self.connection.read_load_command():
            self.status.remember_load(command.gpu_id, command.batch_size, command.io_name)

    def fail_load(self, code: int, text: str) -> None:
        """Reply to its load command."""
        self.connection.send(encode_load_reply(code, text))

    def fail_requests(self, error: WorkerDiedError, reply_code: int) -> bool:
        """Reply to the requests that it had read and not responded to. Returns False if their ids are not known."""
        ids = self.status.payload
        if not ids or not isinstance(ids, list) or not all(isinstance(item, str) for item in ids):
            return False
        failure = Failure.of(error, self.model.name, "predict")
        headers = {"content-type": "application/json"}
        responses = [Response(item, failure.code, headers, failure.to_json()) for item in ids]
        self.connection.send(encode_predict_reply(responses, reply_code))
        return True

    # Its end

    def kill_for(self, reason: WorkerDiedError) -> None:
        """Kill it with all of its descendants; callers that wait for it get the reason."""
        self.killed_for = reason
        for pid in with_descendants(self.pid) if self.pid is not None else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.kill()

    def kill(self) -> None:
        """Kill the process and whatever it has started in its process group."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def close(self, hang_up: bool) -> None:
        """Close everything that is held for it; `hang_up` ends the connection for the front end too."""
        self.enter(WorkerLifecycle.RELEASED)
        self._remove_io_files()
        self.connection.close(hang_up)
        self.status.close()
        if self.logs is not None:
            self.logs.close()
        if self.smaps is not None:
            os.close(self.smaps)

    def _remove_io_files(self) -> None:
        if io_name := self.status.io_name:
            for stream in ("stdout", "stderr"):
                with contextlib.suppress(OSError, ValueError):  # a name that MMS would not choose
                    (Path(self.model.io_dir) / f"{io_name}-{stream}").unlink()
