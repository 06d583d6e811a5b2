"""A worker's answers, cut from the bytes that come: see container/protocol.py."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from polyhost.container.worker.protocol import ANSWERED, IN_PIECES, IN_PLACE

_int_at = struct.Struct("!i").unpack_from


@dataclass(slots=True)
class Answer:
    """One response. `more`: further pieces of the body are to come."""

    id: bytes
    status: int
    phrase: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    more: bool = False
    in_place: bool = False  # the fork server's, for a worker that died


@dataclass(slots=True)
class Replaced:
    """The end of the answers in a dead worker's place."""


@dataclass(slots=True)
class Loaded:
    """The reply to a load: 200 and its times as JSON, or a status and a Failure as JSON."""

    code: int
    text: str


@dataclass(slots=True)
class Piece:
    """A further piece of an answer; `data` is None at the end, `failure` the JSON of what ended it early."""

    data: bytes | None
    failure: bytes | None = None


Reply = Answer | Replaced | Loaded | Piece


class GarbledError(Exception):
    """Bytes that are no reply."""


class _ShortError(Exception):
    def __init__(self, needed: int) -> None:
        self.needed = needed


class ReplyReader:
    """Fed with what arrives; `expects_load` until the load's reply has come.

    It goes on where it stopped, a few fields at a time: a large batch that comes by and by is read once.
    """

    def __init__(self) -> None:
        self.expects_load = True
        self._buffer = bytearray()
        self._needed = 0
        self._position = 0  # of what has not been read yet
        # Of the class, not bound: a reader that held itself would stay, with its buffer, until garbage is collected.
        self._step: Callable[[ReplyReader, bytes, int], None] = ReplyReader._read_reply
        self._found: Reply | None = None
        self._answer: Answer
        self._headers_left = 0
        self._in_pieces = self._in_place = False

    def feed(self, data: bytes) -> Iterator[Reply]:
        """What is complete now. Raises GarbledError, after what came before."""
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
            self._found = Loaded(code, _decoded(text))
        else:
            _check(code in (ANSWERED, IN_PIECES, IN_PLACE))
            self._in_pieces, self._in_place = code == IN_PIECES, code == IN_PLACE
            self._step = ReplyReader._read_answer
        self._position = position

    def _read_answer(self, data: bytes, position: int) -> None:
        length, after = _int(data, position)
        if length == -1:
            self._step = ReplyReader._read_piece if self._in_pieces else ReplyReader._read_reply
            self._position = after
            self._found = Replaced() if self._in_place else None
            return
        request_id, position = _field(data, position)
        _, position = _field(data, position)  # the content type, which the headers have as well
        status, position = _int(data, position)
        phrase, position = _field(data, position)
        self._headers_left, position = _int(data, position)
        _check(self._headers_left >= 0)
        self._answer = Answer(request_id, status, phrase, [], b"", self._in_pieces, self._in_place)
        self._step = ReplyReader._read_rest
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
        self._step = ReplyReader._read_answer

    def _read_piece(self, data: bytes, position: int) -> None:
        length, after = _int(data, position)
        if length > 0:
            piece, after = _field(data, position)
            self._found = Piece(piece)
        else:
            _check(length in (0, -1))
            failure = None
            if length == -1:
                failure, after = _field(data, after)
            self._step = ReplyReader._read_reply
            self._found = Piece(None, failure)
        self._position = after


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise GarbledError(f"the reply to a load is not UTF-8: {error}") from None


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
        raise GarbledError("a length below 0")
    if end > len(data):
        raise _ShortError(end)
    return data[start:end], end


def _check(fits: bool) -> None:
    if not fits:
        raise GarbledError("a reply that is none of a worker's")
