"""The runtime: from the client's request to a container's answer, whole or streamed, with the service's errors.

Texts and statuses: botocore (sagemaker-runtime/2017-05-13), and public reports of what the service says.
"""

import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from polyhost.emulator.api import event_stream
from polyhost.emulator.api.control import Control
from polyhost.emulator.api.service_model import ServiceModel
from polyhost.emulator.config import ACCOUNT
from polyhost.emulator.errors import (
    ArchiveError,
    ContainerGone,
    ContainerTimeout,
    DownloadError,
    HostingError,
    LoadRefused,
    ModelDataMissing,
    ModelError,
    ModelNotReady,
    ServiceUnavailable,
    ValidationError,
)
from polyhost.emulator.hosting.endpoint import Endpoint, Variant
from polyhost.emulator.hosting.faults import Faults
from polyhost.emulator.hosting.interfaces import INVOCATION_TIMEOUT_S, Answer, Call
from polyhost.emulator.telemetry.recorder import Place, Recorder

MAX_BODY_BYTES = 6_291_456  # botocore, BodyBlob
MAX_MESSAGE = 2048  # botocore, Message: a ModelError's Message and OriginalMessage
_CONTENT_TYPE = b"content-type"
_STREAMED_CONTENT_TYPE = b"x-amzn-sagemaker-content-type"
# The platform hands on nothing else (developer guide, your-algorithms-inference-code; botocore, InvokeEndpoint).
_TO_CONTAINER = {
    "ContentType": "Content-Type",
    "Accept": "Accept",
    "CustomAttributes": "X-Amzn-SageMaker-Custom-Attributes",
    "TargetModel": "X-Amzn-SageMaker-Target-Model",
    "InferenceId": "X-Amzn-SageMaker-Inference-Id",
    "SessionId": "X-Amzn-SageMaker-Session-Id",
}
_TO_CLIENT = (
    "x-amzn-sagemaker-custom-attributes",
    "x-amzn-sagemaker-new-session-id",
    "x-amzn-sagemaker-closed-session-id",
)
_NOT_EMULATED = ("TargetContainerHostname", "EnableExplanations", "InferenceComponentName")

_TARGET_MODEL = b"x-amzn-sagemaker-target-model"

Headers = list[tuple[bytes, bytes]]

logger = logging.getLogger("polyhost.emulator")


@dataclass(frozen=True)
class Invocation:
    """The answer for the client."""

    headers: Headers
    body: bytes


class Client(Protocol):
    """Who takes an answer piece by piece."""

    async def begin(self, headers: Headers) -> None:
        """The answer is a good one."""

    async def send(self, piece: bytes) -> None:
        """A piece of the response's body."""


class _Stream:
    """A container's answer on its way to the client, as an event stream."""

    def __init__(self, client: Client) -> None:
        self.begun = False
        self.variant = ""
        self._client = client

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        self.begun = True
        streamed = _headers(headers, self.variant, _STREAMED_CONTENT_TYPE)
        await self._client.begin([(_CONTENT_TYPE, event_stream.CONTENT_TYPE.encode()), *streamed])

    async def send(self, piece: bytes) -> None:
        await self._client.send(event_stream.event("PayloadPart", piece))

    async def fail(self, kind: str, **members: str) -> None:
        await self._client.send(event_stream.failure(kind, members))


class Runtime:
    """Stateless; asks the control plane for endpoints."""

    def __init__(
        self, control: Control, recorder: Recorder, faults: Faults, timeout_s: float = INVOCATION_TIMEOUT_S
    ) -> None:
        self._control = control
        self._recorder = recorder
        self._faults = faults
        self._timeout_s = timeout_s
        self._service = ServiceModel("sagemaker-runtime")
        self._headers = {
            operation: self._service.headers(operation)
            for operation in ("InvokeEndpoint", "InvokeEndpointWithResponseStream")
        }

    async def invoke(self, region: str, name: str, headers: Mapping[bytes, bytes], body: bytes) -> Invocation:
        """InvokeEndpoint. Raises AwsError."""
        variant, answer = await self._ask("InvokeEndpoint", region, name, headers, body)
        return Invocation(_headers(answer.headers, variant.name, _CONTENT_TYPE), answer.body)

    async def stream(self, region: str, name: str, headers: Mapping[bytes, bytes], body: bytes, client: Client) -> None:
        """InvokeEndpointWithResponseStream. Raises AwsError until the answer has begun; what goes wrong after that is
        the stream's last event."""
        stream = _Stream(client)
        try:
            await self._ask("InvokeEndpointWithResponseStream", region, name, headers, body, stream)
        except ModelError as error:
            if not stream.begun:
                raise
            late = isinstance(error.__cause__, ContainerTimeout)
            code = "ModelInvocationTimeExceeded" if late else "StreamBroken"
            await stream.fail("ModelStreamError", Message=str(error.__cause__), ErrorCode=code)
        except Exception as error:
            if not stream.begun:
                raise
            logger.exception("the stream of %s broke", name)
            await stream.fail("InternalStreamFailure", Message=f"the emulator failed: {error!r}")

    async def _ask(
        self,
        operation: str,
        region: str,
        name: str,
        headers: Mapping[bytes, bytes],
        body: bytes,
        stream: _Stream | None = None,
    ) -> tuple[Variant, Answer]:
        start = time.perf_counter()
        given = {
            known: headers[wire].decode("latin-1")
            for wire, known in self._headers[operation].items()
            if wire in headers
        }
        self._must_be_valid(operation, {"EndpointName": name, **given, "Body": body})
        endpoint = self._endpoint(region, name)
        variant = endpoint.choose(given.get("TargetVariant"))
        # The streaming operation has no such member; a client that sends the header all the same means it.
        target = given.get("TargetModel") or headers.get(_TARGET_MODEL, b"").decode("latin-1") or None
        _check(endpoint, variant, target)
        place = Place(region, name, variant.name)
        if self._faults.pending and (fault := self._faults.take("error", name, variant.name, target or "")):
            raise fault.error()
        passed = {known: given[member] for member, known in _TO_CONTAINER.items() if member in given}
        if stream is not None:
            stream.variant = variant.name
        call = Call(body, passed, target, self._timeout_s, stream)
        try:
            answer = await variant.fleet.invoke(call)
        except ModelNotReady:
            self._measure(place, variant, target)
            raise
        except HostingError as error:
            # Any name can be asked for: only models that there are have series of their own.
            self._measure(place, variant, None if isinstance(error, ModelDataMissing) else target, failed=True)
            if stream is not None and stream.begun:
                self._recorder.measure("MidStreamErrors", 1, "None", place)
            raise _model_error(error, endpoint) from error
        self._measure(place, variant, target, answer, int((time.perf_counter() - start) * 1e6))
        if answer.status >= 300:
            raise _answered_error(answer, endpoint)
        return variant, answer

    def _must_be_valid(self, operation: str, members: Mapping[str, str | bytes]) -> None:
        for name in _NOT_EMULATED:
            if name in members:
                raise ValidationError(f"The emulator does not have {name}; leave it out of {operation}.")
        if faults := self._service.faults(operation, members):
            plural = "" if len(faults) == 1 else "s"
            raise ValidationError(f"{len(faults)} validation error{plural} detected: {'; '.join(faults)}")

    def _endpoint(self, region: str, name: str) -> Endpoint:
        endpoint = self._control.endpoint(region, name)
        if endpoint is None or not endpoint.serving:
            raise ValidationError(f"Endpoint {name} of account {ACCOUNT} not found.")
        if not endpoint.variants:
            raise ServiceUnavailable(f"Endpoint {name} has no instance in service.")
        return endpoint

    def _measure(
        self,
        place: Place,
        variant: Variant,
        model: str | None,
        answer: Answer | None = None,
        total_us: int = 0,
        failed: bool = False,
    ) -> None:
        measure, name = self._recorder.measure, model or ""
        status = answer.status if answer is not None else 0
        measure("Invocations", 1, "None", place, name)
        measure("InvocationsPerInstance", 1 / max(1, len(variant.fleet.instances)), "None", place, name)
        measure("Invocation4XXErrors", float(400 <= status < 500), "None", place, name)
        measure("Invocation5XXErrors", float(status >= 500), "None", place, name)
        measure(
            "InvocationModelErrors", float(failed or (answer is not None and not 200 <= status < 300)), "None", place
        )
        if answer is not None:
            measure("ModelLatency", answer.container_us, "Microseconds", place, name)
            measure("OverheadLatency", max(0, total_us - answer.container_us), "Microseconds", place, name)


def _check(endpoint: Endpoint, variant: Variant, target: str | None) -> None:
    if variant.spec.container.multi_model and target is None:
        raise ValidationError(f"Request {uuid.uuid4()} is missing a target model header")
    if target is not None and not variant.spec.container.multi_model:
        raise ValidationError(
            f"Endpoint {endpoint.name} is not a multi-model endpoint and does not support target model header."
        )


def _headers(answered: Mapping[str, str], variant: str, content_type: bytes) -> Headers:
    """Those of a good answer, byte by byte as aiohttp read them; `content_type` is the name under which the container's
    goes."""
    names = {"content-type": content_type} | {name: name.encode() for name in _TO_CLIENT}
    headers = [
        (wire, answered[name].encode("utf-8", "surrogateescape")) for name, wire in names.items() if name in answered
    ]
    return [*headers, (b"x-amzn-invoked-production-variant", variant.encode())]


def _answered_error(answer: Answer, endpoint: Endpoint) -> ModelError:
    """The container answered, but not with a 2xx."""
    return _error(endpoint, answer.status, answer.body.decode(errors="replace"))


def _model_error(error: HostingError, endpoint: Endpoint) -> Exception:
    """Nothing that the model said."""
    if isinstance(error, ModelDataMissing):
        return ValidationError(str(error))
    if isinstance(error, ArchiveError):
        return ValidationError(f"Failed to unpack the model data: {error}")
    if isinstance(error, DownloadError):
        return ServiceUnavailable(f"Failed to download model data: {error}")
    if isinstance(error, LoadRefused):
        return _error(endpoint, error.status, error.body.decode(errors="replace"))
    if isinstance(error, ContainerTimeout):
        text = (
            "Your invocation timed out while waiting for a response from container primary. Review the latency metrics"
            " for each container in Amazon CloudWatch, resolve the issue, and try again."
        )
    else:
        assert isinstance(error, ContainerGone), error
        text = (
            f"Amazon SageMaker could not get a response from the {endpoint.name} endpoint. This can occur when CPU or"
            f" memory utilization is high. ({error})"
        )
    return _error(endpoint, 0, text)


def _error(endpoint: Endpoint, status: int, text: str) -> ModelError:
    group = f"/aws/sagemaker/Endpoints/{endpoint.name}"
    console = f"https://{endpoint.region}.console.aws.amazon.com/cloudwatch/home?region={endpoint.region}"
    received = f"Received {'client' if 0 < status < 500 else 'server'} error ({status}) from primary"
    more = f" See {console}#logEventViewer:group={group} in account {ACCOUNT} for more information."
    message = f'{received} with message "{text}".{more}'
    if len(message) > MAX_MESSAGE:
        message = f"{received} and could not load the entire response body.{more}"
    return ModelError(
        message,
        OriginalStatusCode=status,
        OriginalMessage=text[:MAX_MESSAGE],
        LogStreamArn=f"arn:aws:logs:{endpoint.region}:{ACCOUNT}:log-group:{group}",
        ErrorCode="CLIENT_ERROR_FROM_MODEL" if 400 <= status < 500 else "INTERNAL_FAILURE_FROM_MODEL",
    )
