"""AWS's event streams, application/vnd.amazon.eventstream: one message per event (Smithy, "Amazon Event Stream")."""

import json
import struct
import zlib
from collections.abc import Mapping

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_STRING = 7  # the type of a header's value
_PRELUDE_BYTES = 12  # two lengths and their checksum
_CHECKSUM_BYTES = 4


def event_message(event_type: str, payload: bytes) -> bytes:
    """Encode an event with a payload of bytes."""
    headers = {":message-type": "event", ":event-type": event_type, ":content-type": "application/octet-stream"}
    return _message(headers, payload)


def exception_message(exception_type: str, members: Mapping[str, str]) -> bytes:
    """Encode an exception, the last message of a stream that broke."""
    headers = {
        ":message-type": "exception",
        ":exception-type": exception_type,
        ":content-type": "application/json",
    }
    return _message(headers, json.dumps(members).encode())


def _message(headers: Mapping[str, str], payload: bytes) -> bytes:
    encoded = b"".join(map(_header, headers.items()))
    lengths = struct.pack("!II", _PRELUDE_BYTES + len(encoded) + len(payload) + _CHECKSUM_BYTES, len(encoded))
    message = lengths + struct.pack("!I", zlib.crc32(lengths)) + encoded + payload
    return message + struct.pack("!I", zlib.crc32(message))


def _header(item: tuple[str, str]) -> bytes:
    name, value = (part.encode() for part in item)
    return struct.pack("!B", len(name)) + name + struct.pack("!BH", _STRING, len(value)) + value
