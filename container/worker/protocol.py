"""What MMS's Java front end and a worker say to each other on their socket.

The format is MMS's: mms/protocol/otf_message_handler.py, ModelRequestEncoder.java, ModelResponseDecoder.java.
Every number is a big-endian int32, every text is its length and its bytes, and -1 ends a list.

The native front end speaks it too, with these additions:
- A command "J" is an "I" whose requests go to the handler one by one, each with a reply of its own, in order.
- A reply of code 206 has one response, whose body is its first piece; further pieces follow, each its length and its
  bytes, until a length of 0, or of -1 and a failure's JSON.
- An "X" and a request's id from the front end end such an answer early; it may come too late and then means nothing.
- A reply of code 207 is the fork server's, in the place of a worker that died: what it does not name was not begun.
"""

import select
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from polyhost.container.worker.types import Request, Response

_LOAD = b"L"
PREDICT, PREDICT_BURST = b"I", b"J"
_CANCEL = b"X"
COMPLETE_CODE, STREAMED_CODE, SUBSTITUTE_CODE = 200, 206, 207
_CHUNK = 1 << 16
_INT = struct.Struct("!i")
_int_at = _INT.unpack_from
_END = _INT.pack(-1)


class ProtocolError(Exception):
    """Bytes that are no message of MMS's: nothing sensible can follow on this connection."""


@dataclass(frozen=True)
class LoadCommand:
    """MMS asks for the model. `io_name` is the base name of the two files that MMS will open in its temp folder."""

    model_name: str
    model_path: str
    batch_size: int
    handler: str
    gpu_id: int | None
    io_name: str


@dataclass(frozen=True)
class PredictCommand:
    """`each`: the requests go to the handler one by one."""

    requests: list[Request]
    burst: bool = False


class FrontEndConnection:
    """The worker's end of one connection. MMS sends a command, waits for its reply, and only then sends another."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._buffer = bytearray()
        self._position = 0
        self._known_headers: tuple[bytes, dict[str, str]] = (b"", {})

    def wait(self) -> bool:
        """Until the next command begins to arrive; False where MMS has closed the connection instead.

        It stays where it is: should this process be killed before it has said that it reads, another one reads it.
        """
        self._drop_what_was_read()
        while (first := self._buffer[:1] or self.socket.recv(1, socket.MSG_PEEK)) == _CANCEL:
            self._cancelled()
            self._drop_what_was_read()
        return bool(first)

    def _drop_what_was_read(self) -> None:
        del self._buffer[: self._position]
        self._position = 0

    def receive(self) -> LoadCommand | PredictCommand | None:
        """The next command, or None where MMS has closed the connection between two commands."""
        self._drop_what_was_read()
        if not (self._buffer or self._fill(1)):
            return None
        command = self._bytes(1)
        if command == _LOAD:
            return self._load_command()
        if command in (PREDICT, PREDICT_BURST):
            return self._predict_command(burst=command == PREDICT_BURST)
        raise ProtocolError(f"unknown command {bytes(command)!r}")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def wants_no_more(self, request_id: str) -> bool:
        """Whether the front end has cancelled this answer, or hung up: it sends nothing else meanwhile."""
        while self._position < len(self._buffer) or select.select([self.socket], [], [], 0)[0]:
            if self._position == len(self._buffer) and not self._fill(1):
                return True
            if self._cancelled() == request_id:
                return True
        return False

    def _cancelled(self) -> str:
        command = self._bytes(1)
        if command != _CANCEL:
            raise ProtocolError(f"{bytes(command)!r} while an answer was under way")
        return self._text()

    def _load_command(self) -> LoadCommand:
        name, path = self._text(), self._text()
        batch_size = self._int()
        handler = self._text()
        gpu_id = self._int()
        return LoadCommand(name, path, batch_size, handler, gpu_id if gpu_id >= 0 else None, self._text())

    def _predict_command(self, burst: bool) -> PredictCommand:
        requests: list[Request] = []
        while (length := self._int()) != -1:
            request_id = self._bytes(length).decode()
            requests.append(Request(request_id, self._headers(), self._parameters()))
        return PredictCommand(requests, burst)

    def _headers(self) -> dict[str, str]:
        """A client's headers mostly are those of its last request, but for the last of them, the request's id."""
        block, known = self._known_headers
        begin = last = self._position
        if not (block and self._buffer.startswith(block, begin)):
            block, known = b"", {}
        self._position += len(block)
        further: list[tuple[str, str]] = []
        while True:
            here = self._position
            if (length := self._int()) == -1:
                break
            last = here
            further.append((self._bytes(length).decode(), self._text()))
        if len(further) > 1:
            self._known_headers = bytes(self._buffer[begin:last]), {**known, **dict(further[:-1])}
        return {**known, **dict(further)}

    def _parameters(self) -> dict[str, bytearray]:
        parameters: dict[str, bytearray] = {}
        while (length := self._int()) != -1:
            name = self._bytes(length).decode()
            self._text()  # the content type, which the headers tell as well
            parameters[name] = self._bytes(self._int())
        return parameters

    def _text(self) -> str:
        return self._bytes(self._int()).decode()

    def _int(self) -> int:
        start = self._advance(4)
        return _int_at(self._buffer, start)[0]  # type: ignore[no-any-return]

    def _bytes(self, length: int) -> bytearray:
        if length < 0:
            raise ProtocolError(f"a length of {length}")
        start = self._advance(length)
        return self._buffer[start : self._position]

    def _advance(self, length: int) -> int:
        """Past so many bytes, which are there then; gives where they start."""
        start = self._position
        missing = start + length - len(self._buffer)
        if missing > 0 and not self._fill(missing):
            raise ProtocolError("the connection closed inside a message")
        self._position = start + length
        return start

    def _fill(self, missing: int) -> bool:
        """Reads until `missing` bytes more are there; False where the other side closed before that.

        In large pieces: the stock worker makes about forty recv calls a request, one for each field.
        """
        while missing > 0:
            piece = self.socket.recv(max(_CHUNK, missing))
            if not piece:
                return False
            self._buffer += piece
            missing -= len(piece)
        return True


def encode_load(command: LoadCommand) -> bytes:
    """What a front end sends to have the model loaded (ModelRequestEncoder.java)."""
    name, path, handler, io_name = (
        _field(text.encode()) for text in (command.model_name, command.model_path, command.handler, command.io_name)
    )
    gpu_id = _INT.pack(-1 if command.gpu_id is None else command.gpu_id)
    return b"".join((_LOAD, name, path, _INT.pack(command.batch_size), handler, gpu_id, io_name))


def encode_cancel(request_id: bytes) -> bytes:
    return _CANCEL + _field(request_id)


def encode_predict(command: PredictCommand) -> bytes:
    parts = [PREDICT_BURST if command.burst else PREDICT]
    for request in command.requests:
        parts.append(_field(request.id.encode()))
        for name, value in request.headers.items():
            parts += [_field(name.encode()), _field(value.encode())]
        parts.append(_END)
        for name, data in request.parameters.items():
            parts += [_field(name.encode()), _field(b""), _field(bytes(data))]
        parts.append(_END)
    parts.append(_END)
    return b"".join(parts)


def encode_load_reply(status: int, message: str) -> bytes:
    text = message.encode(errors="replace")  # file names that are not UTF-8
    return b"".join((_INT.pack(status), _INT.pack(len(text)), text, _END))


def encode_loaded_reply(pid: int) -> bytes:
    """MMS reads the worker's pid from the text behind "[PID]:" (WorkerThread.java)."""
    return encode_load_reply(200, f"loaded [PID]:{pid}")


def encode_predict_reply(responses: Sequence[Response], code: int = COMPLETE_CODE) -> bytes:
    """One reply for the batch. Its own status is 200 even when items failed, for MMS then passes each item's on.

    With any other status MMS writes an error body of its own, without our reason.
    """
    return _reply(code, responses)


def encode_first_chunk(response: Response) -> bytes:
    return _reply(STREAMED_CODE, [response])


def encode_chunk(data: bytes) -> bytes:
    return _field(data)


def encode_last_chunk(failure: bytes | None = None) -> bytes:
    return _INT.pack(0) if failure is None else _END + _field(failure)


def _reply(code: int, responses: Sequence[Response]) -> bytes:
    parts = [_INT.pack(code), _field(b"")]
    for response in responses:
        parts += [_field(response.id.encode()), _field(response.headers.get("content-type", "").encode())]
        parts += [
            _INT.pack(response.status),
            _field(response.phrase.encode()),
            _INT.pack(len(response.headers)),
        ]
        for name, value in response.headers.items():
            parts += [_field(name.encode()), _field(value.encode())]
        parts.append(_field(response.body))
    parts.append(_END)
    return b"".join(parts)


def _field(data: bytes) -> bytes:
    return _INT.pack(len(data)) + data
