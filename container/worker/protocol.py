"""The worker protocol: MMS's, between its Java front end and a worker, with additions for the native front end.

The format is MMS's: mms/protocol/otf_message_handler.py, ModelRequestEncoder.java, ModelResponseDecoder.java.
Every number is a big-endian int32, every text is its length and its bytes, and -1 ends a list.

The native front end's additions:
- A command "J" is a burst: an "I" whose requests go to the handler one by one, each with a reply of its own, in order.
- A reply of code 206 has one response, whose body is the first chunk of a stream. The next chunks follow, each its
  length and its bytes, until a length of 0, or of -1 and a failure as JSON.
- An "X" and a request's id from the front end end such a stream early. It may come too late, and then means nothing.
- A reply of code 207 is a substitute: the fork server's, on behalf of a worker that died. Requests that it does not
  name were not begun.

Here is the worker's side of it, and what both sides share; native/encoder.py and native/decoder.py are the front end's.
"""

import select
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from polyhost.container.worker.types import Request, Response
from polyhost.handlers.body.forms import Field

PREDICT, PREDICT_BURST = b"I", b"J"
COMPLETE_CODE, STREAMED_CODE, SUBSTITUTE_CODE = 200, 206, 207
_LOAD, _CANCEL = b"L", b"X"
_READ_BYTES = 1 << 16
_INT = struct.Struct("!i")
_int_at = _INT.unpack_from
_END = _INT.pack(-1)


class ProtocolError(Exception):
    """Bytes that are not a command: nothing sensible can follow on this connection."""


class DisconnectedError(Exception):
    """The front end closed the connection before it had the reply: the model was unloaded meanwhile."""


@dataclass(frozen=True)
class LoadCommand:
    """A command to load the model. `io_name`: base name of the two files that MMS will open in its temp folder."""

    model_name: str
    model_path: str
    batch_size: int
    handler: str
    gpu_id: int | None
    io_name: str


@dataclass(frozen=True)
class PredictCommand:
    """Requests for the handler: all at once (a batch), or one by one, each with its own reply (a burst)."""

    requests: list[Request]
    burst: bool = False


class _HeaderCache:
    """Decodes a request's headers faster where they begin as the last request's did.

    A client mostly sends the same headers, and the front end puts the one that differs, the request's id, last.
    `_block` is the encoded form of all headers but the last, `_headers` what it says.
    """

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        self._block = b""
        self._headers: dict[str, str] = {}

    def match(self, buffer: bytearray, start: int) -> tuple[int, dict[str, str]]:
        """Return how many bytes from `start` on are known, and the headers in them, not to be changed."""
        if self._block and buffer.startswith(self._block, start):
            return len(self._block), self._headers
        return 0, {}

    def store(self, block: bytes, headers: dict[str, str]) -> None:
        if self._enabled:
            self._block, self._headers = block, headers


class FrontEndConnection:
    """The worker's end of one connection, read through a buffer.

    The front end sends a command, waits for its replies, and only then sends another; in between comes a cancellation
    at most. `_buffer[:_position]` has been decoded and is removed between commands.
    """

    def __init__(self, sock: socket.socket, cache_headers: bool = True, reads_forms: bool = False) -> None:
        self.socket = sock
        self._reads_forms = reads_forms  # the front end does, and sends their fields
        self._buffer = bytearray()
        self._position = 0
        self._header_cache = _HeaderCache(cache_headers)

    def wait_for_command(self) -> bool:
        """Wait until the next command begins to arrive; return False if the front end closes the connection instead.

        The command stays in the socket: should this process be killed before its status page says READING, its
        replacement reads it.
        """
        self._remove_decoded()
        while (first := self._buffer[:1] or self.socket.recv(1, socket.MSG_PEEK)) == _CANCEL:
            self._read_cancellation()  # of a stream that had ended already
            self._remove_decoded()
        return bool(first)

    def receive(self) -> LoadCommand | PredictCommand | None:
        """Return the next command, or None if the front end closed the connection between two commands.

        Raises ProtocolError, also where the connection is closed inside a command.
        """
        self._remove_decoded()
        if not (self._buffer or self._fill(1)):
            return None
        command = self._bytes(1)
        if command == _LOAD:
            return self._load_command()
        if command in (PREDICT, PREDICT_BURST):
            return self._predict_command(burst=command == PREDICT_BURST)
        raise ProtocolError(f"unknown command {bytes(command)!r}")

    def send(self, data: bytes) -> None:
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise DisconnectedError from error

    def is_cancelled(self, request_id: str) -> bool:
        """Return whether the front end has cancelled this stream, or closed the connection; does not block."""
        while self._position < len(self._buffer) or select.select([self.socket], [], [], 0)[0]:
            if self._position == len(self._buffer) and not self._fill(1):
                return True
            if self._read_cancellation() == request_id:
                return True
        return False

    def _remove_decoded(self) -> None:
        del self._buffer[: self._position]
        self._position = 0

    def _read_cancellation(self) -> str:
        """Return the request's id. Only a cancellation may come while the front end expects a reply."""
        command = self._bytes(1)
        if command != _CANCEL:
            raise ProtocolError(f"command {bytes(command)!r} before the last one's reply was complete")
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
            requests.append(Request(request_id, self._headers(), *self._parameters()))
        return PredictCommand(requests, burst)

    def _headers(self) -> dict[str, str]:
        start = last = self._position
        length, known = self._header_cache.match(self._buffer, start)
        self._position += length
        decoded: list[tuple[str, str]] = []
        while True:
            here = self._position
            if (length := self._int()) == -1:
                break
            last = here
            decoded.append((self._bytes(length).decode(), self._text()))
        if len(decoded) > 1:  # more than the last header is new
            self._header_cache.store(bytes(self._buffer[start:last]), {**known, **dict(decoded[:-1])})
        return {**known, **dict(decoded)}

    def _parameters(self) -> tuple[dict[str, bytearray], list[Field] | None]:
        """Return the parameters by name, and with their types if the front end reads forms."""
        parameters: dict[str, bytearray] = {}
        fields: list[Field] | None = [] if self._reads_forms else None
        while (length := self._int()) != -1:
            name, content_type = self._bytes(length).decode(), self._text()
            value = parameters[name] = self._bytes(self._int())
            if fields is not None:
                fields.append(Field(name, value, content_type))
        return parameters, fields

    def _text(self) -> str:
        return self._bytes(self._int()).decode()

    def _int(self) -> int:
        start = self._advance(4)
        return _int_at(self._buffer, start)[0]  # type: ignore[no-any-return]

    def _bytes(self, length: int) -> bytearray:
        if length < 0:
            raise ProtocolError(f"length {length}")
        start = self._advance(length)
        return self._buffer[start : self._position]

    def _advance(self, length: int) -> int:
        """Buffer `length` bytes, advance past them, and return their offset."""
        start = self._position
        missing = start + length - len(self._buffer)
        if missing > 0 and not self._fill(missing):
            raise ProtocolError("the connection was closed inside a command")
        self._position = start + length
        return start

    def _fill(self, missing: int) -> bool:
        """Buffer at least `missing` more bytes; return False if the connection is closed before that.

        It reads all that is there: MMS's own worker makes about forty recv calls per request, one for each field.
        """
        while missing > 0:
            data = self.socket.recv(max(_READ_BYTES, missing))
            if not data:
                return False
            self._buffer += data
            missing -= len(data)
        return True


# Commands, from the front end


def encode_load(command: LoadCommand) -> bytes:
    """Encode a load command (ModelRequestEncoder.java)."""
    name, path, handler, io_name = (
        _field(text.encode()) for text in (command.model_name, command.model_path, command.handler, command.io_name)
    )
    gpu_id = _INT.pack(-1 if command.gpu_id is None else command.gpu_id)
    return b"".join((_LOAD, name, path, _INT.pack(command.batch_size), handler, gpu_id, io_name))


def encode_cancel(request_id: bytes) -> bytes:
    """Encode the cancellation of a streamed response."""
    return _CANCEL + _field(request_id)


def encode_predict(command: PredictCommand) -> bytes:
    """Encode a predict command; the native front end does it faster (native/encoder.py)."""
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


# Replies, from the worker or on its behalf


def encode_load_reply(status: int, message: str) -> bytes:
    text = message.encode(errors="replace")  # for file names that are not UTF-8
    return b"".join((_INT.pack(status), _INT.pack(len(text)), text, _END))


def encode_loaded_reply(pid: int) -> bytes:
    """Encode MMS's reply to a load that succeeded.

    MMS reads the worker's pid from the text after "[PID]:" (WorkerThread.java).
    """
    return encode_load_reply(200, f"loaded [PID]:{pid}")


def encode_predict_reply(responses: Sequence[Response], code: int = COMPLETE_CODE) -> bytes:
    """Encode one reply for a batch.

    Its own code is 200 even if every item failed, for only then does MMS pass each item's status and body on. With
    any other code MMS writes an error body of its own, without our reason.
    """
    parts = [_INT.pack(code), _field(b"")]
    for response in responses:
        parts += [_field(response.id.encode()), _field(response.headers.get("content-type", "").encode())]
        parts += [_INT.pack(response.status), _field(response.phrase.encode()), _INT.pack(len(response.headers))]
        for name, value in response.headers.items():
            parts += [_field(name.encode()), _field(value.encode())]
        parts.append(_field(response.body))
    parts.append(_END)
    return b"".join(parts)


def encode_first_chunk(response: Response) -> bytes:
    """Encode a streamed response's head and first chunk, which is its body."""
    return encode_predict_reply([response], STREAMED_CODE)


def encode_chunk(data: bytes) -> bytes:
    """Encode a further chunk, which must not be empty."""
    return _field(data)


def encode_last_chunk(failure: bytes | None = None) -> bytes:
    """Encode the end of a stream, or the failure (JSON) that ended it early."""
    return _INT.pack(0) if failure is None else _END + _field(failure)


def _field(data: bytes) -> bytes:
    return _INT.pack(len(data)) + data
