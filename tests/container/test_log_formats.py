"""What a worker sends the log collector, and what becomes of anything else that it sends."""

import json
import math
from typing import Any

import pytest

from polyhost.container.log_formats import MAX_WIRE_BYTES, PlainEvent, from_wire, to_json, to_text, to_wire

NOW = 1_000_000.0
FIELDS = {"request_id": "r", "target_model": "t", "phase": "load", "duration_ms": 1.5}
EVENT = PlainEvent(NOW - 1, "ERROR", "my.logger", "größe", {"model": "x", "pid": 9, **FIELDS}, {"n": 1}, "Traceback")


def read(sent: Any) -> PlainEvent:
    return from_wire(json.dumps(sent).encode(), NOW, "m", 7)


def test_an_event_arrives_as_it_was_but_for_model_and_pid() -> None:
    received = from_wire(f"{to_wire(EVENT)}\n".encode(), NOW, "m", 7)

    assert received == PlainEvent(
        EVENT.created, "ERROR", "my.logger", "größe", {"model": "m", **FIELDS, "pid": 7}, {"n": 1}, "Traceback"
    )


@pytest.mark.parametrize(
    "data",
    [b"", b"text", b"{", b"[1]", b"5", b'{"message": 1}', b"\xff\xfe", b"[" * 100_000, b"1" * 100_000, b'{"a": NaN}'],
)
def test_what_is_no_event_is_a_message(data: bytes) -> None:
    received = from_wire(data, NOW, "m", 7)

    assert (received.message, received.fields) == (data.decode(errors="replace"), {"model": "m", "pid": 7})
    assert (received.created, received.level, received.traceback) == (NOW, "INFO", None)


@pytest.mark.parametrize("created", [NOW + 1, -1, math.nan, math.inf, 10**400, "1", None, True, [1]])
def test_time_is_one_that_has_been(created: Any) -> None:
    assert to_json(read({"message": "x", "created": created})).startswith('{"time": "1970-01-12T13:46:40.000Z"')


def test_wrong_types_are_dropped() -> None:
    received = read(
        {
            "message": "x",
            "level": ["ERROR"],
            "logger": "a\nb",
            "traceback": 5,
            "details": "no object",
            "fields": {"request_id": 5, "duration_ms": "long", "phase": None, "model": "victim", "pid": 1},
        }
    )

    assert (received.level, received.logger, received.traceback, received.details) == ("INFO", "a b", None, {})
    assert received.fields == {"model": "m", "pid": 7}


def test_details_name_no_field_and_no_metrics() -> None:
    names = ("time", "level", "logger", "message", "traceback", "model", "request_id", "target_model", "pid", "_aws")
    received = read({"message": "x", "details": {**dict.fromkeys(names, "forged"), "own": 1}})

    assert json.loads(to_json(received)).items() >= {"own": 1, "message": "x", "model": "m", "pid": 7}.items()
    assert "forged" not in to_json(received)
    assert "forged" not in to_text(received)


@pytest.mark.parametrize("text", ["x", "\udce9", "\0", "😀"])
def test_long_event_is_cut(text: str) -> None:
    event = PlainEvent(NOW, "INFO", text * 1000, text * 10**6, dict(FIELDS, request_id=text * 10**5), {}, text * 10**6)
    sent = to_wire(event).encode(errors="backslashreplace")

    assert len(sent) < MAX_WIRE_BYTES
    received = from_wire(sent, NOW, "m", 7)
    assert received.message.startswith(text * 8000 + "...")
    assert "(cut: the event has " in received.message


def test_long_event_that_fits_is_whole() -> None:
    event = PlainEvent(NOW, "INFO", "x", "y" * 60_000, {}, {})

    assert from_wire(to_wire(event).encode(), NOW, "m", 7).message == event.message


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_further_line_of_text_does_not_look_like_an_event(end: str) -> None:
    forged = "2026-01-01T00:00:00.000Z ERROR   x [victim] forged"
    event = PlainEvent(NOW, "INFO", "x", f"first{end}{forged}", {"model": "m"}, {}, f"Trace{end}{forged}")

    first, *others = to_text(event).split("\n")
    assert first.endswith("[m] first")
    assert others == [f" {forged}", "Trace", f" {forged}"]
