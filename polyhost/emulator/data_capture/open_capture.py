"""An invocation that is being captured: it waits for its response."""

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace

from polyhost.emulator.data_capture.capture import CapturedBody, CapturedInvocation
from polyhost.emulator.hosting.capture_settings import CaptureSettings
from polyhost.emulator.hosting.interfaces import ContainerResponse, InvocationRequest, Relay
from polyhost.emulator.telemetry.recorder import Place

_MAX_STREAMED_BYTES = 16 << 20
_DEFAULT_TYPE = "application/octet-stream"


class _CapturedRelay:
    """Keeps a streamed response while it passes it on; one that is too large is not captured."""

    def __init__(self, relay: Relay) -> None:
        self.started = False
        self.headers: Mapping[str, str] = {}
        self.chunks: list[bytes] = []
        self.too_large = False
        self._relay = relay
        self._bytes = 0

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        self.started, self.headers = True, headers
        await self._relay.start(status, headers)

    async def send(self, chunk: bytes) -> None:
        self._bytes += len(chunk)
        if self._bytes > _MAX_STREAMED_BYTES:
            self.too_large = True
            self.chunks.clear()
        else:
            self.chunks.append(chunk)
        await self._relay.send(chunk)


class OpenCapture:
    """An invocation that is to be captured when its response is there. Send `request` in place of the client's."""

    def __init__(
        self,
        place: Place,
        settings: CaptureSettings,
        request: InvocationRequest,
        keep: Callable[[CaptureSettings, CapturedInvocation], None],
        drop: Callable[[Place, str], None],
    ) -> None:
        self.request = request
        self._relay: _CapturedRelay | None = None
        if request.relay is not None and settings.captures_output:
            self._relay = _CapturedRelay(request.relay)
            self.request = replace(request, relay=self._relay)
        self._keep = keep
        self._drop = drop
        self._place = place
        self._settings = settings

    def finish(self, response: ContainerResponse) -> None:
        """Capture the invocation with its response, which was successful."""
        request, settings, relay = self.request, self._settings, self._relay
        if relay is not None and relay.too_large:
            self._drop(self._place, f"a streamed response of more than {_MAX_STREAMED_BYTES} bytes")
            return
        sent = {name.lower(): value for name, value in request.headers.items()}
        headers = response.headers if relay is None else relay.headers
        body = response.body if relay is None else b"".join(relay.chunks)
        capture = CapturedInvocation(
            place=self._place,
            event_id=str(uuid.uuid4()),
            at=time.time(),
            request=_payload(request.body, sent) if settings.captures_input else None,
            response=_payload(body, headers) if settings.captures_output else None,
            target_model=request.target_model,
            inference_id=sent.get("x-amzn-sagemaker-inference-id"),
            custom_attributes=sent.get("x-amzn-sagemaker-custom-attributes"),
        )
        self._keep(settings, capture)


def _payload(content: bytes, headers: Mapping[str, str]) -> CapturedBody:
    return CapturedBody(content, headers.get("content-type") or _DEFAULT_TYPE)
