"""The control protocol: messages of the fork server, zygotes, workers, builders of layers and the native front end.

One datagram per message (SOCK_SEQPACKET): a JSON object, with file descriptors beside it. The front ends speak to
workers in another protocol, MMS's own (worker/protocol.py).
"""

import json
import os
import socket
from array import array
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple

from polyhost.container.errors import Failure

_MAX_BYTES = 1 << 16
_MAX_DESCRIPTORS = 4


@dataclass(frozen=True)
class ModelRef:
    """A model as all processes of the container refer to it.

    `name` is the front end's, `directory` holds the unpacked archive, `handler` is what the load request names, if
    anything (lookup.py).
    """

    name: str
    directory: str
    handler: str


class ForkDescriptors(NamedTuple):
    """The descriptors that a worker gets with its fork request, in the order in which they are sent."""

    connection: int  # to the front end
    output: int  # the writing end of a pipe for what native code prints
    events: int  # a socket to the log collector, for log events
    status_page: int


# From the fork server to a zygote


@dataclass(frozen=True)
class ForkRequest:
    """Fork a worker. Sent with ForkDescriptors."""

    sequence: int
    model: ModelRef
    temp_dir: str
    # Where MMS looks for the worker's output files.
    io_dir: str
    # A number that marks the worker and everything that it starts (system/procfs.py).
    mark: int = 0
    # Bytes that the load may allocate before allocation fails; None: no limit.
    memory_bytes: int | None = None
    # When the front end asked for the model and when it connected, by the monotonic clock, for the load's timeline.
    launched: float = 0.0
    connected: float = 0.0
    # A worker that replaces one that died: it loads the model without a command of the front end's.
    reload: bool = False
    # The GPU to load on; None: the one that the front end names, if any.
    gpu_id: int | None = None
    batch_size: int = 1
    # After repeated deaths: for how long to reject every request with `reason` before the model is tried again.
    backoff_s: float = 0.0
    reason: str = ""
    # The user to become before the model's first file is opened, with its group; None: none.
    user: int | None = None
    # The folder of the packages that its archive asks for; `isolated`: the worker becomes a new Python that finds them
    # before the image's. `waited_s`: for how long the load has waited for them.
    layer: str | None = None
    isolated: bool = False
    waited_s: float = 0.0
    # Whether the front end understands our additions to MMS's protocol (worker/protocol.py): streamed responses, and a
    # load's timeline in its reply.
    extended_protocol: bool = False


# From a zygote, and from the workers that it forks, to the fork server


@dataclass(frozen=True)
class Ready:
    """The zygote has imported what it could. `failures` maps a step that failed to the reason."""

    seconds: float
    failures: dict[str, str]


@dataclass(frozen=True)
class Started:
    """A worker runs. The worker itself sends it, so that it is known even if its zygote dies at that moment.

    One that is to become another user sends its smaps_rollup with it, opened by itself: to open it takes CAP_SYS_PTRACE
    then, which containers do not have, to read it does not (proc(5)).

    `early`: it was forked before its zygote's warm-ups, and shares less memory with it than others do.
    """

    sequence: int
    pid: int
    early: bool = False


@dataclass(frozen=True)
class Exited:
    """A worker has ended. `status` is waitpid's."""

    sequence: int
    pid: int
    status: int


@dataclass(frozen=True)
class ForkFailed:
    """No process could be forked for the request."""

    sequence: int
    reason: str


# From a builder of layers to the fork server


@dataclass(frozen=True)
class LayerReady:
    """The archive's packages are installed. Sent with the builder's lock on the layer."""

    key: str
    packages: list[str]
    isolated: bool


@dataclass(frozen=True)
class LayerFailed:
    """The archive cannot have its packages."""

    failure: Failure


# Between the fork server and the log collector


@dataclass(frozen=True)
class WatchWorker:
    """Write the worker's events and output to the container's log. Sent with the reading ends of both.

    Sent again to a collector that has started anew.
    """

    pid: int
    name: str  # of its model


@dataclass(frozen=True)
class DrainWorker:
    """Log what is left of a worker that has ended, close what is held for it, and answer with WorkerDrained."""

    pid: int


@dataclass(frozen=True)
class WorkerDrained:
    """`lines` are the last ones of the worker's output."""

    pid: int
    lines: list[str]


@dataclass(frozen=True)
class CollectorStarted:
    """The log collector has started, perhaps not for the first time."""


# From the native front end to the fork server


@dataclass(frozen=True)
class OpenModel:
    """Take note of a model. `key` is the front end's number for this load of it."""

    key: int
    model: ModelRef
    response_timeout_s: float


@dataclass(frozen=True)
class AddWorker:
    """Fork a worker for the model. Sent with the worker's end of a connection; `connection` is its number."""

    key: int
    connection: int


@dataclass(frozen=True)
class AddSurvivor:
    """Watch a worker that outlived its fork server. Sent with its end of the connection and its status page."""

    key: int
    connection: int
    pid: int


@dataclass(frozen=True)
class CloseModel:
    """Close the model once its last worker has ended."""

    key: int


@dataclass(frozen=True)
class Heartbeat:
    """Sent back unchanged by the fork server."""

    number: int


# From the fork server to the native front end


@dataclass(frozen=True)
class WorkerStarted:
    """A process serves the connection: the first, or the replacement of one that died. Sent with its status page."""

    connection: int
    pid: int


@dataclass(frozen=True)
class WorkerLost:
    """The connection ends without a usable reply: its worker died in the middle of a message, or could not be had."""

    connection: int
    failure: Failure


@dataclass(frozen=True)
class Resize:
    """Open or close connections until the model has `workers` of them."""

    key: int
    workers: int


@dataclass(frozen=True)
class MemoryMeasured:
    """The bytes that one worker of the model occupies."""

    key: int
    size: int


@dataclass(frozen=True)
class ModelClosed:
    """No process and no file of the model is left."""

    key: int


Message = (
    ForkRequest
    | Ready
    | Started
    | Exited
    | ForkFailed
    | LayerReady
    | LayerFailed
    | WatchWorker
    | DrainWorker
    | WorkerDrained
    | CollectorStarted
    | OpenModel
    | AddWorker
    | AddSurvivor
    | CloseModel
    | Heartbeat
    | WorkerStarted
    | WorkerLost
    | Resize
    | MemoryMeasured
    | ModelClosed
)


class MessageError(ValueError):
    """A message that is too long, or whose bytes are not a message."""


class Channel:
    """One end of a pair of sockets that preserve message boundaries."""

    _KINDS: ClassVar[dict[str, type[Message]]] = {kind.__name__: kind for kind in Message.__args__}
    # Fields that are objects themselves.
    _NESTED: ClassVar[dict[str, type[ModelRef | Failure]]] = {"model": ModelRef, "failure": Failure}

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock

    @classmethod
    def pair(cls) -> tuple["Channel", "Channel"]:
        """Return the two ends of a new channel."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), cls(theirs)

    def send(self, message: Message, descriptors: tuple[int, ...] = (), flags: int = 0) -> None:
        """Send one message and duplicates of the descriptors; `flags` are those of sendmsg(2).

        Raises MessageError if the message is too long, OSError if the other end is closed; with
        MSG_DONTWAIT also BlockingIOError if it has not read what it was sent before.
        """
        kind = type(message).__name__
        data = json.dumps({"kind": kind, **asdict(message)}).encode()
        if len(data) > _MAX_BYTES:
            raise MessageError(
                f"a {kind} message of {len(data)} bytes exceeds {_MAX_BYTES}: shorten the names and paths in it"
            )
        # Not socket.send_fds: Python 3.11's ignores the flags.
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))] if descriptors else []
        self.socket.sendmsg([data], rights, flags)

    def receive(self) -> tuple[Message, list[int]] | None:
        """Return the next message and its descriptors, or None once the other end is closed.

        Descriptors are missing where this process may not open more of them (unix(7)). Raises MessageError if the
        message is too long.
        """
        try:
            data, descriptors, flags, _ = socket.recv_fds(self.socket, _MAX_BYTES, _MAX_DESCRIPTORS)
        except ConnectionResetError:
            # Reported once, when the other end was closed with messages unread. What it had sent can still be read.
            data, descriptors, flags, _ = socket.recv_fds(self.socket, _MAX_BYTES, _MAX_DESCRIPTORS)
        if flags & socket.MSG_TRUNC:
            for descriptor in descriptors:
                os.close(descriptor)
            raise MessageError(f"truncated message: {data[:200]!r}")
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)  # a program that a model starts must not hold its connection open
        if not data:
            return None
        return self._decode(json.loads(data)), descriptors

    @classmethod
    def _decode(cls, fields: dict[str, Any]) -> Message:
        kind = cls._KINDS[fields.pop("kind")]
        for name, nested in cls._NESTED.items():
            if name in fields:
                fields[name] = nested(**fields[name])
        return kind(**fields)

    def fileno(self) -> int:
        """Return the socket's descriptor, so that selectors take a channel."""
        return self.socket.fileno()

    def close(self) -> None:
        """Close this end."""
        self.socket.close()
