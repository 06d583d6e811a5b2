"""A captured invocation, and its line of JSON (developer guide, model-monitor-data-capture-endpoint)."""

import base64
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from polyhost.emulator.hosting.capture_settings import CaptureSettings
from polyhost.emulator.telemetry.recorder import Place

_EVENT_VERSION = "0"


@dataclass(frozen=True)
class CapturedBody:
    """A body with the content type that was observed; `whole` is False if the body was shortened."""

    content: bytes
    content_type: str
    whole: bool = True

    def shortened(self, size: int) -> "CapturedBody":
        """Return the payload with the first bytes only, if there are more than `size`."""
        return self if len(self.content) <= size else replace(self, content=self.content[:size], whole=False)


@dataclass(frozen=True)
class CapturedInvocation:
    """An invocation of a variant. `request` or `response` is None if the settings leave it out."""

    place: Place
    event_id: str
    at: float  # seconds since 1970: when the response was there
    request: CapturedBody | None
    response: CapturedBody | None
    target_model: str | None = None
    inference_id: str | None = None
    custom_attributes: str | None = None

    @property
    def size(self) -> int:
        """Return the bytes of the bodies."""
        return sum(len(payload.content) for payload in (self.request, self.response) if payload is not None)

    @property
    def hour(self) -> str:
        """Return the folder of the invocation's hour, in UTC."""
        return datetime.fromtimestamp(self.at, UTC).strftime("%Y/%m/%d/%H")


def to_line(capture: CapturedInvocation, settings: CaptureSettings) -> bytes:
    """Return a capture as a line of JSON."""
    data = {
        name: _data(payload, mode, settings)
        for name, mode, payload in (
            ("endpointInput", "INPUT", capture.request),
            ("endpointOutput", "OUTPUT", capture.response),
        )
        if payload is not None
    }
    line = {"captureData": data, "eventMetadata": _metadata(capture), "eventVersion": _EVENT_VERSION}
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def _data(payload: CapturedBody, mode: str, settings: CaptureSettings) -> dict[str, str]:
    encoding, data = _encoded(payload, settings)
    return {"observedContentType": payload.content_type, "mode": mode, "data": data, "encoding": encoding}


def _encoded(payload: CapturedBody, settings: CaptureSettings) -> tuple[str, str]:
    media_type = payload.content_type.partition(";")[0].strip().lower()
    for encoding, types in (("CSV", settings.csv_types), ("JSON", settings.json_types)):
        if media_type in types:
            try:
                return encoding, payload.content.decode()
            except UnicodeDecodeError:  # it is not what its type says, and JSON has no other way to hold it
                break
    return "BASE64", base64.b64encode(payload.content).decode()


def _metadata(capture: CapturedInvocation) -> dict[str, Any]:
    members = {
        "eventId": capture.event_id,
        "inferenceId": capture.inference_id,
        "customAttributes": [capture.custom_attributes] if capture.custom_attributes else None,
        "targetModel": capture.target_model,
        "inferenceTime": datetime.fromtimestamp(capture.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return {name: value for name, value in members.items() if value is not None}
