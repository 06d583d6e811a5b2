"""What HTTP can carry in a status line and in headers, and how much of it a worker may send.

The worker checks what a handler sets, where the error can name it. The native front end checks the same again in what
it reads from a worker: a model's code can write to that connection itself.
"""

import re
import string

FRAMING = frozenset({"connection", "content-length", "transfer-encoding"})  # the front end sets these
MAX_HEADERS = 100
MAX_HEAD_BYTES = 64 * 1024  # of one response as the front end reads it: its id, status, phrase and headers
MAX_HEADERS_BYTES = 24 * 1024  # that a handler may set: the head has the content type twice, and lengths

_NAME_CHARACTERS = "!#$%&'*+.^_`|~-" + string.ascii_letters + string.digits  # RFC 9110, 5.6.2
_NAME = re.compile(f"[{re.escape(_NAME_CHARACTERS)}]+")
_FORBIDDEN = "\0\v\f\r\n"  # in a value; Netty rejects them
_VALUE = re.compile(rf"[^{_FORBIDDEN}\ud800-\udfff]*")
_NAME_BYTES = _NAME_CHARACTERS.encode()
_VALUE_BYTES = bytes(set(range(256)) - set(_FORBIDDEN.encode()))
_FRAMING_BYTES = frozenset(name.encode() for name in FRAMING)


def is_status(status: object) -> bool:
    """Return whether a response may end with this status: those below 200 announce another one (RFC 9110, 15.2)."""
    return isinstance(status, int) and 200 <= status <= 599


def is_name(text: object) -> bool:
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def is_value(text: str) -> bool:
    """Return whether this may be a header's value, or a status line's phrase."""
    return _VALUE.fullmatch(text) is not None


# Of many at once, for the native front end: half the time of a regular expression.


def are_names(names: list[bytes]) -> bool:
    return all(names) and not b"".join(names).translate(None, _NAME_BYTES)


def are_values(values: list[bytes]) -> bool:
    return not b"".join(values).translate(None, _VALUE_BYTES)


def include_framing(names: list[bytes]) -> bool:
    """Return whether one of these valid names is among FRAMING."""
    return not _FRAMING_BYTES.isdisjoint(b":".join(names).lower().split(b":"))
