"""One invocation of a model, from the last byte of the client's request to the last byte of the response."""

from typing import Protocol

from polyhost.container.native.decoder import Chunk, WorkerResponse
from polyhost.container.native.errors import Rejection


class Caller(Protocol):
    """The receiver of the response: the client's connection.

    It hears once, either of a response or of a rejection; only a streamed response (`more`) is followed by chunks, the
    last of which has no data, or by a rejection where its worker died. Nothing comes after `Invocation.cancel`.
    """

    def on_response(self, invocation: "Invocation", response: WorkerResponse) -> None: ...

    def on_chunk(self, invocation: "Invocation", chunk: Chunk) -> None: ...

    def on_rejected(self, invocation: "Invocation", rejection: Rejection) -> None: ...


class InvokedModel(Protocol):
    """What an invocation needs of its model (ServedModel)."""

    def on_cancelled(self, invocation: "Invocation") -> None: ...


class ResponseSource(Protocol):
    """What an invocation needs of its worker's connection (WorkerConnection)."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class Invocation:
    """`command` is the request as a worker reads it. Times are in seconds of the monotonic clock.

    The client's side reads `streaming` and `cancelled` and calls `pause`, `resume` and `cancel`; the other attributes
    belong to the model.
    """

    __slots__ = (
        "arrived", "caller", "cancelled", "command", "connection", "id", "model", "sent", "streaming",
    )  # fmt: skip

    def __init__(self, request_id: bytes, command: bytes, model: InvokedModel, caller: Caller, arrived: float) -> None:
        self.id = request_id
        self.command = command
        self.model = model
        self.caller = caller
        self.arrived = arrived
        self.sent = 0.0  # 0: waiting in the queue
        self.connection: ResponseSource | None = None  # to the worker that has it
        self.streaming = False  # the response has begun and comes in chunks
        self.cancelled = False  # the caller no longer waits: it has disconnected, or was rejected

    def pause(self) -> None:
        """Stop reading further chunks until `resume`: the client is slower than the worker.

        Does nothing before the response has begun, or where it came in one part: it has been read whole then.
        """
        if self.streaming and self.connection is not None:
            self.connection.pause()

    def resume(self) -> None:
        """Read chunks again. Must be called before the caller leaves, since the connection serves others afterwards."""
        if self.streaming and self.connection is not None:
            self.connection.resume()

    def cancel(self) -> None:
        """Withdraw it if it is still waiting, else ignore the rest of its response; idempotent.

        A handler that streams is asked to stop; one that computes a whole response runs to its end.
        """
        self.resume()
        self.cancelled = True
        self.model.on_cancelled(self)
