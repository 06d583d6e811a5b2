"""What the front end sends to a worker, put together from bytes as the client sent them: see container/protocol.py."""

import struct
from collections.abc import Iterable, Sequence

from polyhost.container.worker.protocol import PREDICT, PREDICT_BURST

Header = tuple[bytes, bytes]

_int = struct.Struct("!i").pack
_END = _int(-1)
_REQUEST_ID = _int(len(b"x-request-id")) + b"x-request-id"
_BODY = _int(len(b"body")) + b"body" + _int(0)


def encode_headers(headers: Sequence[Header]) -> bytes:
    """The front of a request's list of headers; encode_invocation ends it."""
    parts: list[bytes] = []
    for name, value in headers:
        if not value.isascii():
            value = value.decode("latin-1").encode()  # what HTTP sends in bytes, a worker reads as UTF-8
        parts += (_int(len(name)), name, _int(len(value)), value)
    return b"".join(parts)


def encode_parameters(parameters: Iterable[tuple[str, str]]) -> bytes:
    """The query's, which a handler finds beside the body; one of that name gives way to it, as with MMS."""
    return b"".join(_field(name.encode()) + _int(0) + _field(value.encode()) for name, value in parameters)


def encode_invocation(request_id: bytes, headers: bytes, parameters: bytes, body: bytes) -> bytes:
    """One request of a predict command."""
    id_length = _int(len(request_id))
    return b"".join(
        (
            id_length, request_id, headers, _REQUEST_ID, id_length, request_id, _END,
            parameters, _BODY, _int(len(body)), body, _END,
        )
    )  # fmt: skip


def encode_command(calls: Sequence[bytes], burst: bool = False) -> bytes:
    """`burst`: the handler gets them one by one."""
    return b"".join((PREDICT_BURST if burst else PREDICT, *calls, _END))


def _field(data: bytes) -> bytes:
    return _int(len(data)) + data
