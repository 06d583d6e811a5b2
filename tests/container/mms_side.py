"""MMS's side of the worker protocol, as in ModelRequestEncoder.java and ModelResponseDecoder.java."""

import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

END = struct.pack(">i", -1)


@dataclass(frozen=True)
class Parameter:
    name: str
    value: bytes
    content_type: str = ""


@dataclass(frozen=True)
class Sent:
    """One request of a batch."""

    id: str
    headers: Mapping[str, str] = field(default_factory=dict)
    parameters: Sequence[Parameter] = ()


def sized(data: bytes | str) -> bytes:
    data = data.encode() if isinstance(data, str) else data
    return struct.pack(">i", len(data)) + data


def load_command(
    name: str, path: str, *, batch_size: int = 1, handler: str = "handle.py", gpu_id: int = -1, io_name: str = "io"
) -> bytes:
    middle = struct.pack(">i", batch_size) + sized(handler) + struct.pack(">i", gpu_id)
    return b"L" + sized(name) + sized(path) + middle + sized(io_name)


def predict_command(*batch: Sent) -> bytes:
    return b"I" + b"".join(_request(request) for request in batch) + END


def body_command(body: bytes, request_id: str = "r1", **headers: str) -> bytes:
    """Encode the usual command: one request with a body."""
    return predict_command(Sent(request_id, headers, [Parameter("body", body)]))


def _request(request: Sent) -> bytes:
    headers = b"".join(sized(name) + sized(value) for name, value in request.headers.items())
    parameters = b"".join(
        sized(item.name) + sized(item.content_type) + sized(item.value) for item in request.parameters
    )
    return sized(request.id) + headers + END + parameters + END


def _parts(parameter: Parameter) -> tuple[str, str, bytes]:
    return parameter.name, parameter.content_type, parameter.value


@dataclass(frozen=True)
class Prediction:
    id: str
    content_type: str
    status: int
    reason: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    code: int
    message: str
    predictions: list[Prediction]


class ReplyReader:
    """Reads the worker's replies from a socket, and never past the end of one."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def read(self) -> Reply:
        code, message = self._int(), self._bytes(self._int()).decode()
        predictions = []
        while (length := self._int()) != -1:
            predictions.append(self._prediction(length))
        return Reply(code, message, predictions)

    def _prediction(self, id_length: int) -> Prediction:
        request_id, content_type = self._bytes(id_length).decode(), self._text()
        status, reason = self._int(), self._text()
        headers = {self._text(): self._text() for _ in range(self._int())}
        return Prediction(request_id, content_type, status, reason, headers, self._bytes(self._int()))

    def _text(self) -> str:
        return self._bytes(self._int()).decode()

    def _int(self) -> int:
        return int(struct.unpack(">i", self._bytes(4))[0])

    def _bytes(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            piece = self._socket.recv(length - len(data))
            if not piece:
                raise EOFError("the worker hung up")
            data += piece
        return data
