"""What the fork server says to a zygote and to the native front end, and they to it.

One datagram a message, JSON, descriptors beside it.
"""

import json
import os
import socket
from dataclasses import asdict, dataclass
from typing import ClassVar

_MAX_BYTES = 1 << 16
_MAX_DESCRIPTORS = 4


# From the fork server to a zygote


@dataclass(frozen=True)
class ForkRequest:
    """Fork a worker. With it go three descriptors: MMS's connection, a pipe for native output, the status page."""

    sequence: int
    model: str
    directory: str
    handler: str
    temp_dir: str
    io_dir: str
    # What the worker and all that it starts are marked with (processes.py).
    mark: int = 0
    # The most that the load may take before it is refused further memory; None: no bound.
    memory_bytes: int | None = None
    # When MMS asked for the model and when it connected, by the monotonic clock, for the load's timeline.
    launched: float = 0.0
    connected: float = 0.0
    # A worker in the place of one that died: the model is loaded without MMS asking again.
    reload: bool = False
    # The GPU to load on; None: the one that the front end names, if any.
    gpu_id: int | None = None
    batch_size: int = 1
    # After repeated deaths: answer with `reason` for so many seconds before trying the model again.
    rest_s: float = 0.0
    reason: str = ""
    # Whether the native front end is on the other side, which takes answers in pieces and a load's times in its answer.
    native: bool = False


# From a zygote, and from the workers that it forks, to the fork server


@dataclass(frozen=True)
class Ready:
    """The zygote has imported what it could; `failures` maps a step to why it failed."""

    seconds: float
    failures: dict[str, str]


@dataclass(frozen=True)
class Started:
    """Sent by the worker itself, so that it is known even if its zygote dies at that moment."""

    sequence: int
    pid: int


@dataclass(frozen=True)
class Exited:
    """`status` is waitpid's."""

    sequence: int
    pid: int
    status: int


@dataclass(frozen=True)
class ForkFailed:
    sequence: int
    reason: str


# From the native front end to the fork server


@dataclass(frozen=True)
class OpenModel:
    key: int
    name: str
    directory: str
    handler: str
    response_timeout_s: float


@dataclass(frozen=True)
class AddWorker:
    """Have a worker load the model. With it goes the worker's end of a connection; `link` is its number."""

    key: int
    link: int


@dataclass(frozen=True)
class AdoptWorker:
    """A worker that outlived the fork server which forked it. With it go the connection and the status page."""

    key: int
    link: int
    pid: int


@dataclass(frozen=True)
class CloseModel:
    """End what is left of the model's workers."""

    key: int


@dataclass(frozen=True)
class Beat:
    """Comes back as it is."""

    number: int


# From the fork server to the native front end


@dataclass(frozen=True)
class WorkerStarted:
    """A process serves the connection: the first, or one in the place of one that died. With it: its status page."""

    link: int
    pid: int


@dataclass(frozen=True)
class LinkLost:
    """The worker died in the middle of a message, so that nobody can go on from there; the rest is a Failure's."""

    link: int
    code: int
    type: str
    message: str
    model: str
    phase: str


@dataclass(frozen=True)
class Resize:
    """The model should have so many workers."""

    key: int
    workers: int


@dataclass(frozen=True)
class Took:
    """What one worker of the model takes, in bytes."""

    key: int
    size: int


@dataclass(frozen=True)
class ModelClosed:
    """No process and no file is left of it."""

    key: int


_FROM_FRONT_END = (OpenModel, AddWorker, AdoptWorker, CloseModel, Beat)
_TO_FRONT_END = (WorkerStarted, LinkLost, Resize, Took, ModelClosed)

Message = (
    ForkRequest
    | Ready
    | Started
    | Exited
    | ForkFailed
    | OpenModel
    | AddWorker
    | AdoptWorker
    | CloseModel
    | Beat
    | WorkerStarted
    | LinkLost
    | Resize
    | Took
    | ModelClosed
)


class MessageError(ValueError):
    """A message that does not fit, or is none."""


class Channel:
    """A pair of sockets that keeps messages whole."""

    _KINDS: ClassVar[dict[str, type]] = {
        kind.__name__: kind
        for kind in (ForkRequest, Ready, Started, Exited, ForkFailed, *_FROM_FRONT_END, *_TO_FRONT_END)
    }

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock

    @classmethod
    def pair(cls) -> tuple["Channel", "Channel"]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), cls(theirs)

    def send(self, message: Message, descriptors: tuple[int, ...] = ()) -> None:
        """Raises MessageError where the message is too long, OSError where nobody is left on the other side."""
        kind = type(message).__name__
        data = json.dumps({"kind": kind, **asdict(message)}).encode()
        if len(data) > _MAX_BYTES:
            raise MessageError(f"a {kind} of {len(data)} bytes; {_MAX_BYTES} fit: shorten the names and paths in it")
        socket.send_fds(self.socket, [data], list(descriptors))

    def receive(self) -> tuple[Message, list[int]] | None:
        """The next message and its descriptors, or None where nobody is left on the other side.

        Raises MessageError where it is too long. Descriptors are missing where this process may not open more.
        """
        try:
            data, descriptors, flags, _ = socket.recv_fds(self.socket, _MAX_BYTES, _MAX_DESCRIPTORS)
        except ConnectionResetError:  # told once, of an end with messages unread; what it had sent comes after that
            data, descriptors, flags, _ = socket.recv_fds(self.socket, _MAX_BYTES, _MAX_DESCRIPTORS)
        if flags & socket.MSG_TRUNC:
            for descriptor in descriptors:
                os.close(descriptor)
            raise MessageError(f"only a part of a message has come: {data[:200]!r}")
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)  # what a model starts must not hold its connection open
        if not data:
            return None
        fields = json.loads(data)
        return self._KINDS[fields.pop("kind")](**fields), descriptors

    def fileno(self) -> int:
        return self.socket.fileno()

    def close(self) -> None:
        self.socket.close()
