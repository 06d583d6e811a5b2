"""Incremental decoding of what comes from a worker; worker/protocol.py describes the format."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from polyhost.container.worker import http_fields
from polyhost.container.worker.protocol import COMPLETE_CODE, STREAMED_CODE, SUBSTITUTE_CODE

_int_at = struct.Struct("!i").unpack_from

Header = tuple[bytes, bytes]


@dataclass(slots=True)
class WorkerResponse:
    """The response to one request. `more`: it is streamed, `body` is its first chunk, and Chunks follow.

    `headers` may be those of other responses too, and must not be changed.
    """

    id: bytes
    status: int
    phrase: bytes
    headers: list[Header]
    body: bytes
    more: bool = False
    substitute: bool = False  # sent by the fork server on behalf of a worker that died


@dataclass(slots=True)
class Chunk:
    """A further chunk of a response. `data` is None at the end; `failure` is the JSON of what ended it early."""

    data: bytes | None
    failure: bytes | None = None


@dataclass(slots=True)
class WorkerReplaced:
    """The end of the responses on behalf of a dead worker: another one serves the connection from here on."""


@dataclass(slots=True)
class LoadReply:
    """The reply to a load: 200 and the load's times as JSON, or an HTTP status and a failure as JSON."""

    code: int
    text: str


Reply = WorkerResponse | Chunk | WorkerReplaced | LoadReply


class GarbledReplyError(Exception):
    """Bytes that a worker does not send: a model's code has written to the connection, on purpose or not."""


class _IncompleteError(Exception):
    """A field that has not arrived whole. `end`: the offset at which it ends."""

    def __init__(self, end: int) -> None:
        self.end = end


class ReplyDecoder:
    """Decodes replies from bytes that arrive in pieces of any size, and believes nothing that they say.

    It goes on where it stopped, at a response's head or body, so that a large batch that arrives slowly is decoded
    once. A length above its limit ends the decoding before the bytes come. Invariants:
    - `_step` decodes what is next, from `_position` on. It moves `_position` past what it has fully used, and sets
      `_decoded` where that completes a reply.
    - Between calls of `feed`, `_buffer` begins with what has not been used, and nothing is complete below `_needed`
      bytes of it.
    - `_known_head` is the encoded form of the last response's status, phrase and headers, which were found to be
      valid, and `_known` is what it says. The next response mostly has the same.
    """

    def __init__(self, max_body_bytes: int) -> None:
        """`max_body_bytes`: of one response, or of one chunk."""
        self.expects_load = True  # until a load has succeeded, a reply is to a load
        self._max_body_bytes = max_body_bytes
        self._buffer = bytearray()
        self._needed = 0
        self._position = 0
        # A function, not a bound method: that would be a reference cycle, which keeps the decoder and its buffer
        # until a garbage collection.
        self._step: Callable[[ReplyDecoder, bytes, int], None] = ReplyDecoder._read_head
        self._decoded: Reply | None = None
        self._streamed = self._substitute = False  # the kind of the reply being decoded
        self._responses = 0  # how many of its responses have been decoded
        self._response: WorkerResponse | None = None  # the one being decoded
        self._known_head = b""
        self._known: tuple[int, bytes, list[Header]] = (0, b"", [])

    @property
    def buffered(self) -> int:
        """How many bytes wait for the rest of what they belong to."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[Reply]:
        """Yield what is complete with `data`. Raises GarbledReplyError, after what was complete before it."""
        buffer = self._buffer
        if buffer:
            buffer += data
            if len(buffer) < self._needed:
                return
            data = bytes(buffer)
        self._position = 0
        try:
            while self._position < len(data):
                self._step(self, data, self._position)
                if self._decoded is not None:
                    yield self._decoded
                    self._decoded = None
        except _IncompleteError as incomplete:
            self._needed = incomplete.end - self._position
        if buffer or self._position < len(data):
            buffer[:] = data[self._position :]

    def _read_head(self, data: bytes, position: int) -> None:
        """Decode a reply's code and text; of a reply to a load, all of it."""
        code, position = _int(data, position)
        text, position = _field(data, position, self._max_body_bytes)
        if self.expects_load:
            end, position = _int(data, position)
            _check(end == -1)
            self.expects_load = code != 200
            self._decoded = LoadReply(code, _utf8(text))
        else:
            _check(code in (COMPLETE_CODE, STREAMED_CODE, SUBSTITUTE_CODE))
            self._streamed, self._substitute = code == STREAMED_CODE, code == SUBSTITUTE_CODE
            self._responses = 0
            self._step = ReplyDecoder._read_response
        self._position = position

    def _read_response(self, data: bytes, position: int) -> None:
        """Decode the head of a response and perhaps its body, or the end of the list of responses."""
        length, after = _int(data, position)
        if length == -1:
            _check(self._responses == 1 or not self._streamed)
            self._step = ReplyDecoder._read_chunk if self._streamed else ReplyDecoder._read_head
            self._position = after
            self._decoded = WorkerReplaced() if self._substitute else None
            return
        _check(self._responses == 0 or not self._streamed)
        request_id, position = _field(data, position, http_fields.MAX_HEAD_BYTES)
        if self._known_head and data.startswith(self._known_head, position):
            position += len(self._known_head)
        else:
            position = self._read_new_head(data, position)
        status, phrase, headers = self._known
        self._response = WorkerResponse(request_id, status, phrase, headers, b"", self._streamed, self._substitute)
        self._responses += 1
        self._step = ReplyDecoder._read_body
        self._position = position
        self._read_body(data, position)

    def _read_new_head(self, data: bytes, start: int) -> int:
        """Decode and check a status, phrase and headers, and return where they end."""
        limit = http_fields.MAX_HEAD_BYTES
        _, position = _field(data, start, limit)  # the content type, which the headers have as well
        status, position = _int(data, position)
        if not http_fields.is_status(status):
            raise GarbledReplyError(f"the status {status}, which is not from 200 to 599")
        phrase, position = _field(data, position, limit)
        count, position = _int(data, position)
        if not 0 <= count <= http_fields.MAX_HEADERS:
            raise GarbledReplyError(f"{count} headers; at most {http_fields.MAX_HEADERS} are accepted")
        fields, position = _fields(data, position, 2 * count, start + limit)
        names, values = fields[::2], fields[1::2]
        if not (http_fields.are_names(names) and http_fields.are_values([phrase, *values])):
            raise GarbledReplyError("a phrase or header that HTTP cannot carry")
        headers = list(zip(names, values, strict=True))
        if http_fields.include_framing(names):
            headers = [header for header in headers if not http_fields.include_framing([header[0]])]
        self._known = (status, phrase, headers)
        self._known_head = data[start:position]
        return position

    def _read_body(self, data: bytes, position: int) -> None:
        response = self._response
        assert response is not None
        response.body, self._position = _field(data, position, self._max_body_bytes)
        self._decoded = response
        self._response = None  # its body may be large, and the next reply far off
        self._step = ReplyDecoder._read_response

    def _read_chunk(self, data: bytes, position: int) -> None:
        length, after = _int(data, position)
        if length > 0:
            chunk, after = _field(data, position, self._max_body_bytes)
            self._decoded = Chunk(chunk)
        else:
            _check(length in (0, -1))
            failure = None
            if length == -1:
                failure, after = _field(data, after, self._max_body_bytes)
            self._step = ReplyDecoder._read_head
            self._decoded = Chunk(None, failure)
        self._position = after


def _utf8(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise GarbledReplyError(f"the reply to a load is not UTF-8: {error}") from None


def _int(data: bytes, position: int) -> tuple[int, int]:
    """Return the number at `position`, and where it ends."""
    end = position + 4
    if end > len(data):
        raise _IncompleteError(end)
    return _int_at(data, position)[0], end


def _field(data: bytes, position: int, limit: int) -> tuple[bytes, int]:
    """Return the bytes behind their length at `position`, and where they end."""
    start = position + 4
    if start > len(data):
        raise _IncompleteError(start)
    length = _int_at(data, position)[0]
    if not 0 <= length <= limit:
        raise GarbledReplyError(f"a length of {length} bytes; at most {limit} are accepted here")
    end = start + length
    if end > len(data):
        raise _IncompleteError(end)
    return data[start:end], end


def _fields(data: bytes, position: int, count: int, limit_end: int) -> tuple[list[bytes], int]:
    """Return so many fields, which must end at `limit_end` or before; faster than `_field` for each."""
    fields: list[bytes] = []
    for _ in range(count):
        start = position + 4
        if start > len(data):
            raise _IncompleteError(start)
        position = start + _int_at(data, position)[0]
        if not start <= position <= limit_end:
            raise GarbledReplyError(f"a head of more than {http_fields.MAX_HEAD_BYTES} bytes, or a negative length")
        if position > len(data):
            raise _IncompleteError(position)
        fields.append(data[start:position])
    return fields, position


def _check(valid: bool) -> None:
    if not valid:
        raise GarbledReplyError("these bytes are no reply")
