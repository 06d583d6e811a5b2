"""A worker's answers, cut from the bytes that come: see container/protocol.py."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from polyhost.container.worker.protocol import COMPLETE_CODE, STREAMED_CODE, SUBSTITUTE_CODE

_int_at = struct.Struct("!i").unpack_from


@dataclass(slots=True)
class WorkerResponse:
    """One response. `more`: further pieces of the body are to come."""

    id: bytes
    status: int
    phrase: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    more: bool = False
    substitute: bool = False  # sent by the fork server on behalf of a worker that died


@dataclass(slots=True)
class WorkerReplaced:
    """The end of the answers in a dead worker's place."""


@dataclass(slots=True)
class LoadReply:
    """The reply to a load: 200 and its times as JSON, or a status and a Failure as JSON."""

    code: int
    text: str


@dataclass(slots=True)
class Chunk:
    """A further piece of an answer; `data` is None at the end, `failure` the JSON of what ended it early."""

    data: bytes | None
    failure: bytes | None = None


Reply = WorkerResponse | WorkerReplaced | LoadReply | Chunk


class GarbledReplyError(Exception):
    """Bytes that are no reply."""


class _ShortError(Exception):
    def __init__(self, needed: int) -> None:
        self.needed = needed


class ReplyDecoder:
    """Fed with what arrives; `expects_load` until the load's reply has come.

    It goes on where it stopped, a few fields at a time: a large batch that comes by and by is read once.
    """

    def __init__(self) -> None:
        self.expects_load = True
        self._buffer = bytearray()
        self._needed = 0
        self._position = 0  # of what has not been read yet
        # Of the class, not bound: a reader that held itself would stay, with its buffer, until garbage is collected.
        self._step: Callable[[ReplyDecoder, bytes, int], None] = ReplyDecoder._read_reply
        self._found: Reply | None = None
        self._answer: WorkerResponse
        self._headers_left = 0
        self._in_pieces = self._in_place = False

    def feed(self, data: bytes) -> Iterator[Reply]:
        """What is complete now. Raises GarbledReplyError, after what came before."""
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
                if self._found is not None:
                    yield self._found
                    self._found = None
        except _ShortError as short:
            self._needed = short.needed - self._position
        if buffer or self._position < len(data):
            buffer[:] = data[self._position :]

    def _read_reply(self, data: bytes, position: int) -> None:
        code, position = _int(data, position)
        text, position = _field(data, position)
        if self.expects_load:
            end, position = _int(data, position)
            _check(end == -1)
            self.expects_load = code != 200
            self._found = LoadReply(code, _decoded(text))
        else:
            _check(code in (COMPLETE_CODE, STREAMED_CODE, SUBSTITUTE_CODE))
            self._in_pieces, self._in_place = code == STREAMED_CODE, code == SUBSTITUTE_CODE
            self._step = ReplyDecoder._read_answer
        self._position = position

    def _read_answer(self, data: bytes, position: int) -> None:
        length, after = _int(data, position)
        if length == -1:
            self._step = ReplyDecoder._read_piece if self._in_pieces else ReplyDecoder._read_reply
            self._position = after
            self._found = WorkerReplaced() if self._in_place else None
            return
        request_id, position = _field(data, position)
        _, position = _field(data, position)  # the content type, which the headers have as well
        status, position = _int(data, position)
        phrase, position = _field(data, position)
        self._headers_left, position = _int(data, position)
        _check(self._headers_left >= 0)
        self._answer = WorkerResponse(request_id, status, phrase, [], b"", self._in_pieces, self._in_place)
        self._step = ReplyDecoder._read_rest
        self._position = position
        self._read_rest(data, position)

    def _read_rest(self, data: bytes, position: int) -> None:
        while self._headers_left:
            name, position = _field(data, position)
            value, position = _field(data, position)
            self._answer.headers.append((name, value))
            self._headers_left -= 1
            self._position = position
        self._answer.body, self._position = _field(data, position)
        self._found = self._answer
        del self._answer  # its body may be large, and the next reply far off
        self._step = ReplyDecoder._read_answer

    def _read_piece(self, data: bytes, position: int) -> None:
        length, after = _int(data, position)
        if length > 0:
            piece, after = _field(data, position)
            self._found = Chunk(piece)
        else:
            _check(length in (0, -1))
            failure = None
            if length == -1:
                failure, after = _field(data, after)
            self._step = ReplyDecoder._read_reply
            self._found = Chunk(None, failure)
        self._position = after


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise GarbledReplyError(f"the reply to a load is not UTF-8: {error}") from None


def _int(data: bytes, position: int) -> tuple[int, int]:
    end = position + 4
    if end > len(data):
        raise _ShortError(end)
    return _int_at(data, position)[0], end


def _field(data: bytes, position: int) -> tuple[bytes, int]:
    start = position + 4
    if start > len(data):
        raise _ShortError(start)
    end = start + _int_at(data, position)[0]
    if end < start:
        raise GarbledReplyError("a length below 0")
    if end > len(data):
        raise _ShortError(end)
    return data[start:end], end


def _check(fits: bool) -> None:
    if not fits:
        raise GarbledReplyError("a reply that is none of a worker's")
