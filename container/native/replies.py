"""A worker's answers, cut from the bytes that come: see container/protocol.py."""

import struct
from dataclasses import dataclass

from container.protocol import ANSWERED, IN_PIECES, IN_PLACE

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
class Loaded:
    """The reply to a load: 200 and its times as JSON, or a status and a Failure as JSON."""

    code: int
    text: str


@dataclass(slots=True)
class Piece:
    """A further piece of an answer; `data` is None at the end, `failure` the JSON of what ended it early."""

    data: bytes | None
    failure: bytes | None = None


class GarbledError(Exception):
    """Bytes that are no reply."""


class _ShortError(Exception):
    def __init__(self, needed: int) -> None:
        self.needed = needed


class ReplyReader:
    """Fed with what arrives; `expects_load` until the load's reply has come."""

    def __init__(self) -> None:
        self.expects_load = True
        self._in_pieces = False
        self._buffer = bytearray()
        self._needed = 0

    def feed(self, data: bytes) -> list[Answer | Loaded | Piece]:
        """What is complete now. Raises GarbledError."""
        buffer = self._buffer
        if buffer:
            buffer += data
            if len(buffer) < self._needed:
                return []
            data = bytes(buffer)
        found: list[Answer | Loaded | Piece] = []
        position = 0
        try:
            while position < len(data):
                position = self._read(data, position, found)
        except _ShortError as short:
            self._needed = short.needed - position
        if buffer or position < len(data):
            buffer[:] = data[position:]
        return found

    def _read(self, data: bytes, position: int, found: list[Answer | Loaded | Piece]) -> int:
        if self._in_pieces:
            return self._read_piece(data, position, found)
        code, position = _int(data, position)
        text, position = _field(data, position)
        if self.expects_load:
            end, position = _int(data, position)
            _check(end == -1)
            self.expects_load = code != 200
            found.append(Loaded(code, text.decode()))
            return position
        _check(code in (ANSWERED, IN_PIECES, IN_PLACE))
        answers: list[Answer | Loaded | Piece] = []
        while True:
            length, position = _int(data, position)
            if length == -1:
                break
            answer, position = _answer(data, position, length, code)
            answers.append(answer)
        self._in_pieces = code == IN_PIECES
        found += answers
        return position

    def _read_piece(self, data: bytes, position: int, found: list[Answer | Loaded | Piece]) -> int:
        length, after = _int(data, position)
        if length > 0:
            piece, after = _field(data, position)
            found.append(Piece(piece))
            return after
        _check(length in (0, -1))
        failure = None
        if length == -1:
            failure, after = _field(data, after)
        self._in_pieces = False
        found.append(Piece(None, failure))
        return after


def _answer(data: bytes, position: int, id_length: int, code: int) -> tuple[Answer, int]:
    _check(id_length >= 0)
    _require(data, position + id_length)
    request_id = data[position : position + id_length]
    _, position = _field(data, position + id_length)  # the content type, which the headers have as well
    status, position = _int(data, position)
    phrase, position = _field(data, position)
    count, position = _int(data, position)
    headers = []
    for _ in range(count):
        name, position = _field(data, position)
        value, position = _field(data, position)
        headers.append((name, value))
    body, position = _field(data, position)
    return Answer(request_id, status, phrase, headers, body, code == IN_PIECES, code == IN_PLACE), position


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
    if end > len(data):
        raise _ShortError(end)
    if end < start:
        raise GarbledError("a length below 0")
    return data[start:end], end


def _require(data: bytes, end: int) -> None:
    if end > len(data):
        raise _ShortError(end)


def _check(fits: bool) -> None:
    if not fits:
        raise GarbledError("a reply that is none of a worker's")
