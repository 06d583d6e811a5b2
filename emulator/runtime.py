"""InvokeEndpoint: from the client's request to a container's answer, with the service's errors.

Texts and statuses: botocore (sagemaker-runtime/2017-05-13), and public reports of what the service says.
"""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from emulator.config import ACCOUNT
from emulator.control import Control
from emulator.endpoint import Endpoint, Variant
from emulator.errors import (
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
from emulator.hosting import Answer, Call
from emulator.recorder import Place, Recorder

MAX_BODY_BYTES = 6_291_456  # botocore, BodyBlob
_TARGET_MODEL = b"x-amzn-sagemaker-target-model"
_TARGET_VARIANT = b"x-amzn-sagemaker-target-variant"
# The platform hands on nothing else (developer guide, your-algorithms-inference-code; botocore, InvokeEndpoint).
_TO_CONTAINER = {
    b"content-type": "Content-Type",
    b"accept": "Accept",
    b"x-amzn-sagemaker-custom-attributes": "X-Amzn-SageMaker-Custom-Attributes",
    b"x-amzn-sagemaker-target-model": "X-Amzn-SageMaker-Target-Model",
    b"x-amzn-sagemaker-inference-id": "X-Amzn-SageMaker-Inference-Id",
    b"x-amzn-sagemaker-session-id": "X-Amzn-SageMaker-Session-Id",
}
_TO_CLIENT = ("content-type", "x-amzn-sagemaker-custom-attributes")


@dataclass(frozen=True)
class Invocation:
    """The answer for the client."""

    headers: list[tuple[bytes, bytes]]
    body: bytes


class Runtime:
    """Stateless; asks the control plane for endpoints."""

    def __init__(self, control: Control, recorder: Recorder) -> None:
        self._control = control
        self._recorder = recorder

    async def invoke(self, region: str, name: str, headers: Mapping[bytes, bytes], body: bytes) -> Invocation:
        """Raises AwsError."""
        start = time.perf_counter()
        endpoint = self._endpoint(region, name)
        variant = endpoint.choose(headers.get(_TARGET_VARIANT, b"").decode("latin-1") or None)
        target = headers.get(_TARGET_MODEL, b"").decode("latin-1") or None
        _check(endpoint, variant, target, body)
        place = Place(region, name, variant.name)
        passed = {known: headers[wire].decode("latin-1") for wire, known in _TO_CONTAINER.items() if wire in headers}
        call = Call(body, passed, target)
        try:
            answer = await variant.fleet.invoke(call)
        except ModelNotReady:
            self._measure(place, variant, target)
            raise
        except HostingError as error:
            self._measure(place, variant, target, failed=True)
            raise _model_error(error, endpoint) from error
        self._measure(place, variant, target, answer, int((time.perf_counter() - start) * 1e6))
        if answer.status >= 300:
            raise _answered_error(answer, endpoint)
        return _invocation(answer, variant)

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


def _check(endpoint: Endpoint, variant: Variant, target: str | None, body: bytes) -> None:
    if len(body) > MAX_BODY_BYTES:
        raise ValidationError(
            "1 validation error detected: Value at 'body' failed to satisfy constraint: Member must have length less"
            f" than or equal to {MAX_BODY_BYTES}"
        )
    if variant.spec.container.multi_model and target is None:
        raise ValidationError(f"Request {uuid.uuid4()} is missing a target model header")
    if target is not None and not variant.spec.container.multi_model:
        raise ValidationError(
            f"Endpoint {endpoint.name} is not a multi-model endpoint and does not support target model header."
        )


def _invocation(answer: Answer, variant: Variant) -> Invocation:
    headers = [
        (name.encode("latin-1"), answer.headers[name].encode("latin-1"))
        for name in _TO_CLIENT
        if name in answer.headers
    ]
    headers.append((b"x-amzn-invoked-production-variant", variant.name.encode()))
    return Invocation(headers, answer.body)


def _answered_error(answer: Answer, endpoint: Endpoint) -> ModelError:
    """The container answered, but not with a 2xx."""
    text = answer.body.decode(errors="replace")
    kind = "client" if answer.status < 500 else "server"
    return _error(
        endpoint, answer.status, text, f'Received {kind} error ({answer.status}) from primary with message "{text}".'
    )


def _model_error(error: HostingError, endpoint: Endpoint) -> Exception:
    """Nothing that the model said."""
    if isinstance(error, ModelDataMissing):
        return ValidationError(
            f"Failed to download model data. Please ensure that there is an object located at the URL: {error}"
        )
    if isinstance(error, ArchiveError):
        return ValidationError(f"Failed to unpack the model data: {error}")
    if isinstance(error, DownloadError):
        return ServiceUnavailable(f"Failed to download model data: {error}")
    if isinstance(error, LoadRefused):
        kind = "client" if error.status < 500 else "server"
        text = error.body.decode(errors="replace")
        return _error(
            endpoint, error.status, text, f'Received {kind} error ({error.status}) from primary with message "{text}".'
        )
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
    return _error(endpoint, 0, text, f'Received server error (0) from primary with message "{text}".')


def _error(endpoint: Endpoint, status: int, text: str, message: str) -> ModelError:
    group = f"/aws/sagemaker/Endpoints/{endpoint.name}"
    console = f"https://{endpoint.region}.console.aws.amazon.com/cloudwatch/home?region={endpoint.region}"
    return ModelError(
        f"{message} See {console}#logEventViewer:group={group} in account {ACCOUNT} for more information.",
        OriginalStatusCode=status,
        OriginalMessage=text,
        LogStreamArn=f"arn:aws:logs:{endpoint.region}:{ACCOUNT}:log-group:{group}",
        ErrorCode="CLIENT_ERROR_FROM_MODEL" if 400 <= status < 500 else "INTERNAL_FAILURE_FROM_MODEL",
    )
