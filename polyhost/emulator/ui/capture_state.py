"""Captured invocations as the dashboard shows them."""

from typing import Any

from polyhost.emulator.data_capture.capture import CapturedBody, CapturedInvocation

_MOST_SHOWN = 2000  # characters of a body


def capture_state(capture: CapturedInvocation) -> dict[str, Any]:
    """Describe a capture in JSON."""
    return {
        "id": capture.event_id,
        "at": capture.at,
        "variant": capture.place.variant,
        "model": capture.target_model,
        "request": _describe(capture.request),
        "answer": _describe(capture.response),
    }


def _describe(payload: CapturedBody | None) -> dict[str, Any] | None:
    if payload is None:
        return None
    return {
        "content_type": payload.content_type,
        "bytes": len(payload.content),
        "whole": payload.whole,
        "text": _text(payload),
    }


def _text(payload: CapturedBody) -> str | None:
    """Return the body's beginning, or None if it is not text."""
    try:
        text = payload.content.decode()
    except UnicodeDecodeError as error:
        # The end of a shortened body can be in the middle of a character.
        if payload.whole or error.start < len(payload.content) - 3:
            return None
        text = payload.content[: error.start].decode()
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]} \u2026"
