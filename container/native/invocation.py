"""One invocation, from the client's last byte to the answer's."""

from typing import TYPE_CHECKING, Protocol

from polyhost.container.native.decoder import Answer, Piece
from polyhost.container.native.errors import Refusal

if TYPE_CHECKING:
    from polyhost.container.native.served_model import ServedModel
    from polyhost.container.native.worker_connection import Link


class Caller(Protocol):
    """Who waits for the answer. It is told once, but for the pieces of an answer that has more."""

    def answer(self, call: "Call", answer: Answer) -> None: ...

    def refuse_call(self, call: "Call", refusal: Refusal) -> None: ...

    def piece(self, call: "Call", piece: Piece) -> None: ...


class Call:
    """`command` is the request as a worker reads it. Times are of the monotonic clock, in seconds."""

    __slots__ = ("arrived", "caller", "command", "given_up", "id", "in_pieces", "link", "model", "sent")

    def __init__(self, request_id: bytes, command: bytes, model: "ServedModel", caller: Caller, arrived: float) -> None:
        self.id = request_id
        self.command = command
        self.model = model
        self.caller = caller
        self.arrived = arrived
        self.sent = 0.0
        self.link: Link | None = None  # whose worker has it
        self.in_pieces = False  # its answer has begun, and comes in pieces
        self.given_up = False  # nobody waits for it any more: the client has gone, or has been told something else
