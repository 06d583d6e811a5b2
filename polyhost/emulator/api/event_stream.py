"""AWS's event streams, application/vnd.amazon.eventstream: a message for each event (Smithy, "Amazon Event Stream")."""

import json
import struct
import zlib
from collections.abc import Mapping

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_STRING = 7  # the type of a header's value
_LENGTHS = 12  # bytes of the prelude with its checksum
_CHECKSUM = 4


def event(kind: str, payload: bytes) -> bytes:
    headers = {":message-type": "event", ":event-type": kind, ":content-type": "application/octet-stream"}
    return _message(headers, payload)


def failure(kind: str, members: Mapping[str, str]) -> bytes:
    """The last message of a stream that broke."""
    headers = {":message-type": "exception", ":exception-type": kind, ":content-type": "application/json"}
    return _message(headers, json.dumps(members).encode())


def _message(headers: Mapping[str, str], payload: bytes) -> bytes:
    encoded = b"".join(map(_header, headers.items()))
    lengths = struct.pack("!II", _LENGTHS + len(encoded) + len(payload) + _CHECKSUM, len(encoded))
    whole = lengths + struct.pack("!I", zlib.crc32(lengths)) + encoded + payload
    return whole + struct.pack("!I", zlib.crc32(whole))


def _header(item: tuple[str, str]) -> bytes:
    name, value = (part.encode() for part in item)
    return struct.pack("!B", len(name)) + name + struct.pack("!BH", _STRING, len(value)) + value
