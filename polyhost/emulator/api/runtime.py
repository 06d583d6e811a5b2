"""The runtime: InvokeEndpoint and InvokeEndpointWithResponseStream, from the client's request to its response.

Texts and statuses: botocore (sagemaker-runtime/2017-05-13), and public reports of the service's messages.
"""

import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from polyhost.emulator.api.asgi import RequestHeaders, ResponseHeaders
from polyhost.emulator.api.endpoint_lookup import EndpointLookup, serving_endpoint
from polyhost.emulator.api.measured_invocations import MeasuredInvocations
from polyhost.emulator.api.service_model import ServiceModel, violations_message
from polyhost.emulator.api.shadow_traffic import ShadowTraffic
from polyhost.emulator.api.targets import Target
from polyhost.emulator.data_capture.service import DataCapture
from polyhost.emulator.errors import ModelError, ServiceUnavailable, ValidationError
from polyhost.emulator.hosting.endpoint import Endpoint
from polyhost.emulator.hosting.faults import FaultKind, Faults
from polyhost.emulator.hosting.interfaces import ContainerResponse, InvocationRequest
from polyhost.emulator.hosting.variants import Variant
from polyhost.emulator.telemetry.recorder import Recorder
from polyhost.model_cache.errors import ContainerTimeoutError
from polyhost.runtime_api import event_stream
from polyhost.runtime_api.headers import (
    INVOKED_VARIANT,
    STREAMED_CONTENT_TYPE,
    TARGET_MODEL,
    TO_CLIENT,
    TO_CONTAINER,
)

MAX_BODY_BYTES = 6_291_456  # botocore, BodyBlob
_MAX_SERVERLESS_BODY_BYTES = 4 << 20  # developer guide, model-deploy-feature-matrix
_OPERATIONS = ("InvokeEndpoint", "InvokeEndpointWithResponseStream")
_CONTENT_TYPE = b"content-type"
_TARGET_MODEL = TARGET_MODEL.lower().encode()
_UNSUPPORTED = ("EnableExplanations", "InferenceComponentName")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RuntimeResponse:
    """A whole response for the client, whose status is 200."""

    headers: ResponseHeaders
    body: bytes


class ResponseSink(Protocol):
    """Takes a response for the client, chunk by chunk."""

    async def start(self, headers: ResponseHeaders) -> None:
        """Send the head of a response whose status is 200."""

    async def send(self, chunk: bytes) -> None:
        """Send a part of the response's body."""


class _EventStreamRelay:
    """Passes a container's response on to the client as an event stream."""

    def __init__(self, sink: ResponseSink) -> None:
        self.started = False
        self.variant = ""
        self._sink = sink

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        self.started = True
        streamed = _response_headers(headers, self.variant, STREAMED_CONTENT_TYPE)
        await self._sink.start([(_CONTENT_TYPE, event_stream.CONTENT_TYPE.encode()), *streamed])

    async def send(self, chunk: bytes) -> None:
        await self._sink.send(event_stream.event_message("PayloadPart", chunk))

    async def fail(self, exception_type: str, **members: str) -> None:
        await self._sink.send(event_stream.exception_message(exception_type, members))


class Runtime:
    """Sends invocations to the variants of endpoints, and copies of them to shadow variants."""

    def __init__(
        self,
        endpoints: EndpointLookup,
        recorder: Recorder,
        data_capture: DataCapture,
        faults: Faults,
        timeout_s: float,
    ) -> None:
        self._endpoints = endpoints
        self._invocations = MeasuredInvocations(recorder, data_capture)
        self._shadows = ShadowTraffic(self._invocations, recorder, faults)
        self._faults = faults
        self._timeout_s = timeout_s
        self._service = ServiceModel("sagemaker-runtime")
        self._header_members = {operation: self._service.header_members(operation) for operation in _OPERATIONS}

    async def invoke(self, region: str, name: str, headers: RequestHeaders, body: bytes) -> RuntimeResponse:
        """Run InvokeEndpoint. Raises AwsError."""
        variant, response = await self._invoke("InvokeEndpoint", region, name, headers, body)
        return RuntimeResponse(_response_headers(response.headers, variant.name, _CONTENT_TYPE), response.body)

    async def stream(self, region: str, name: str, headers: RequestHeaders, body: bytes, sink: ResponseSink) -> None:
        """Run InvokeEndpointWithResponseStream.

        Raises AwsError until the response has started; later failures become the last event of the stream.
        """
        relay = _EventStreamRelay(sink)
        try:
            await self._invoke("InvokeEndpointWithResponseStream", region, name, headers, body, relay)
        except ModelError as error:
            if not relay.started:
                raise
            late = isinstance(error.__cause__, ContainerTimeoutError)
            code = "ModelInvocationTimeExceeded" if late else "StreamBroken"
            await relay.fail("ModelStreamError", Message=str(error.__cause__), ErrorCode=code)
        except Exception as error:
            if not relay.started:
                raise
            logger.exception("the response stream of endpoint %s broke", name)
            await relay.fail("InternalStreamFailure", Message=f"the emulator failed: {error!r}")

    async def _invoke(
        self,
        operation: str,
        region: str,
        name: str,
        headers: RequestHeaders,
        body: bytes,
        relay: _EventStreamRelay | None = None,
    ) -> tuple[Variant, ContainerResponse]:
        start = time.perf_counter()
        members = {
            member: headers[header].decode("latin-1")
            for header, member in self._header_members[operation].items()
            if header in headers
        }
        self._check_members(operation, {"EndpointName": name, **members, "Body": body})
        endpoint = self._endpoint(region, name, operation)
        variant = endpoint.choose(members.get("TargetVariant"), members.get("SessionId"))
        # InvokeEndpointWithResponseStream has no member TargetModel, but a client may send the header.
        model = members.get("TargetModel") or headers.get(_TARGET_MODEL, b"").decode("latin-1") or None
        target = Target(model, members.get("TargetContainerHostname"))
        target.check(name, variant.spec)
        if variant.spec.serverless is not None and len(body) > _MAX_SERVERLESS_BODY_BYTES:
            raise ValidationError(f"Request {uuid.uuid4()} has oversize body.")  # aws/sagemaker-python-sdk, issue 4271
        if self._faults.pending and (fault := self._faults.take(FaultKind.ERROR, name, variant.name, model or "")):
            raise fault.error()
        if relay is not None:
            relay.variant = variant.name
        passed = {header: members[member] for member, header in TO_CONTAINER.items() if member in members}
        request = InvocationRequest(body, passed, target.model, target.container, self._timeout_s, relay)
        self._shadows.copy(request, endpoint)  # begins when this invocation waits for the first time
        return variant, await self._invocations.send(request, endpoint, variant, start)

    def _check_members(self, operation: str, members: Mapping[str, str | bytes]) -> None:
        for name in _UNSUPPORTED:
            if name in members:
                raise ValidationError(f"The emulator does not support {name}; leave it out of {operation}.")
        if violations := self._service.violations(operation, members):
            raise ValidationError(violations_message(violations))

    def _endpoint(self, region: str, name: str, operation: str) -> Endpoint:
        endpoint = serving_endpoint(self._endpoints, region, name)
        if endpoint.async_settings is not None:
            raise ValidationError(
                f"Endpoint {name} is an asynchronous endpoint and does not support {operation}; use"
                " InvokeEndpointAsync."
            )
        if not endpoint.variants:
            raise ServiceUnavailable(f"Endpoint {name} has no instance in service.")
        return endpoint


def _response_headers(headers: Mapping[str, str], variant: str, content_type_header: bytes) -> ResponseHeaders:
    """Return the headers of a container's response that the client gets.

    The values are the bytes that aiohttp read. The content type goes under the name `content_type_header`.
    """
    names = {"content-type": content_type_header} | {name: name.encode() for name in TO_CLIENT}
    passed = [
        (wire, headers[name].encode("utf-8", "surrogateescape")) for name, wire in names.items() if name in headers
    ]
    return [*passed, (INVOKED_VARIANT, variant.encode())]
