"""The forms of a log event: a JSON object or text in the container's log, and what a worker sends the log collector."""

import json
import re
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from json import dumps  # by name: a model may replace an attribute of the module
from typing import Any

# Fields of an event besides its time, level, logger and message, in this order.
FIELDS = ("model", "target_model", "request_id", "phase", "duration_ms", "pid")

MAX_WIRE_BYTES = 1 << 17  # of one event of a worker
_UNCUT_BYTES = 1 << 16  # a longer event is cut
_CUT_CHARACTERS = 8000  # of its message, and of its traceback; up to six bytes each in JSON
_MAX_NAME, _MAX_FIELD = 200, 1024  # characters
_SENT_FIELDS = {"target_model": str, "request_id": str, "phase": str, "duration_ms": float}
# Keys that `details` must not add to an event: those that say what it is, and the one by which CloudWatch takes a log
# line for metrics (its embedded metric format), of any model.
_RESERVED = frozenset({"time", "level", "logger", "message", "traceback", "_aws", *FIELDS})
_END_OF_LINE = re.compile(r"\r\n?|\n")


@dataclass(frozen=True, slots=True)
class PlainEvent:
    """A log event of which all parts can be written. `fields` has some of FIELDS."""

    created: float
    level: str
    logger: str
    message: str
    fields: Mapping[str, Any]
    details: Mapping[str, Any]
    traceback: str | None = None


Format = Callable[[PlainEvent], str]


def to_json(event: PlainEvent) -> str:
    """Format an event as one JSON object: time, level, logger, the FIELDS, message, details, traceback."""
    known = {
        "time": _timestamp(event),
        "level": event.level,
        "logger": event.logger,
        **event.fields,
        "message": event.message,
    }
    known |= _details_of(event)
    if event.traceback is not None:
        known["traceback"] = event.traceback
    return dumps(known, ensure_ascii=False, default=str, skipkeys=True)


def to_text(event: PlainEvent) -> str:
    """Format an event for people: time, level, logger, [model], message, fields; a traceback on the next lines."""
    fields = dict(event.fields)
    model = fields.pop("model", None)
    words = [_timestamp(event), f"{event.level:<7}", event.logger]
    if model:
        words.append(f"[{model}]")
    words.append(event.message)
    words += [f"{name}={value}" for name, value in fields.items() if name != "pid"]
    words += [f"{name}={value}" for name, value in _details_of(event).items()]
    text = " ".join(words)
    return _continued(text if event.traceback is None else f"{text}\n{event.traceback}")


def _details_of(event: PlainEvent) -> dict[str, Any]:
    return {name: value for name, value in event.details.items() if name not in _RESERVED}


def _timestamp(event: PlainEvent) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(event.created))
    return f"{seconds}.{int(event.created % 1 * 1000):03d}Z"


def _continued(text: str) -> str:
    """Return the text with no further line that begins as an event does, with a digit: it gets a space before it."""
    if "\n" not in text and "\r" not in text:
        return text
    first, *others = _END_OF_LINE.split(text)
    return "\n".join([first, *(f" {line}" if line[:1].isdigit() else line for line in others)])


# What a worker sends


class EventSocket:
    """A worker's end of the socket to the log collector (SOCK_SEQPACKET): one event per message, whoever sends it.

    So threads, and processes that the model has forked, need no lock. If the collector does not keep up, the sender
    waits, and no one else.
    """

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)

    def __call__(self, data: bytes) -> None:
        self._socket.send(data, socket.MSG_NOSIGNAL)

    def close(self) -> None:
        self._socket.close()


def to_wire(event: PlainEvent) -> str:
    """Format a worker's event for the log collector, which knows the model and the pid better."""
    fields = {name: value for name, value in event.fields.items() if name in _SENT_FIELDS}
    text = _encode(event, fields, event.message, event.details, event.traceback)
    if len(text) * 6 > _UNCUT_BYTES and len(text.encode(errors="backslashreplace")) >= _UNCUT_BYTES:
        fields = {name: value[:_MAX_FIELD] if isinstance(value, str) else value for name, value in fields.items()}
        note = f"{event.message[:_CUT_CHARACTERS]}... (cut: the event has {len(text)} characters)"
        trace = event.traceback
        text = _encode(event, fields, note, {}, None if trace is None else f"...{trace[-_CUT_CHARACTERS:]}")
    return text


def _encode(
    event: PlainEvent, fields: Mapping[str, Any], message: str, details: Mapping[str, Any], traceback: str | None
) -> str:
    sent = {
        "created": event.created,
        "level": event.level[:_MAX_NAME],
        "logger": event.logger[:_MAX_NAME],
        "message": message,
        "fields": fields,
    }
    if details:
        sent["details"] = details
    if traceback is not None:
        sent["traceback"] = traceback
    return dumps(sent, ensure_ascii=False, default=str, skipkeys=True)


def from_wire(data: bytes, now: float, model: str, pid: int) -> PlainEvent:
    """Read what came from the worker of this model. What is not an event becomes the message of one."""
    text = data.decode(errors="replace").rstrip("\n")
    try:
        sent = json.loads(text)
    except (ValueError, RecursionError):
        sent = None
    whose = {"model": model, "pid": pid}
    if not isinstance(sent, dict) or not isinstance(sent.get("message"), str):
        return PlainEvent(now, "INFO", "unknown", text, whose, {})
    given, created = sent.get("fields"), sent.get("created", now)
    known = given if isinstance(given, dict) else {}
    fields = {name: known[name] for name, kind in _SENT_FIELDS.items() if _is(kind, known.get(name))}
    details, traceback = sent.get("details"), sent.get("traceback")
    return PlainEvent(
        min(float(created), now) if _is(float, created) and created > 0 else now,
        _name(sent.get("level"), "INFO"),
        _name(sent.get("logger"), "unknown"),
        sent["message"],
        {"model": model, **fields, "pid": pid},
        details if isinstance(details, dict) else {},
        traceback if isinstance(traceback, str) else None,
    )


def _is(kind: type, value: Any) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and -1e18 < value < 1e18
    return isinstance(value, kind)


def _name(value: Any, default: str) -> str:
    return _END_OF_LINE.sub(" ", value[:_MAX_NAME]) if isinstance(value, str) and value else default
