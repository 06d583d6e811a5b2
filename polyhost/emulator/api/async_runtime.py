"""The runtime's operation InvokeEndpointAsync: checks an invocation, and puts it into its endpoint's queue."""

import json
import time
import uuid
from collections.abc import Mapping
from typing import Any

from polyhost.emulator.api.asgi import RequestHeaders, ResponseHeaders
from polyhost.emulator.api.endpoint_lookup import EndpointLookup, serving_endpoint
from polyhost.emulator.api.service_model import ServiceModel, violations_message
from polyhost.emulator.async_inference.invocation import AsyncInvocation
from polyhost.emulator.async_inference.invocation_store import QueueError
from polyhost.emulator.async_inference.service import AsyncInference
from polyhost.emulator.config import ACCOUNT
from polyhost.emulator.errors import ServiceUnavailable, ValidationError
from polyhost.emulator.hosting.async_settings import AsyncSettings, ResponseTopic
from polyhost.emulator.hosting.endpoint import Endpoint
from polyhost.emulator.hosting.faults import FaultKind, Faults
from polyhost.model_cache.model_url import ModelData

MAX_BODY_BYTES = 128_000  # botocore, AsyncBodyBlob
_OPERATION = "InvokeEndpointAsync"
# botocore's documentation of the two.
_DEFAULT_TTL_S, _DEFAULT_TIMEOUT_S = 21_600, 900
_NUMBERS = ("RequestTTLSeconds", "InvocationTimeoutSeconds")
_TO_CONTAINER = {
    "ContentType": "Content-Type",
    "Accept": "Accept",
    "CustomAttributes": "X-Amzn-SageMaker-Custom-Attributes",
    "InferenceId": "X-Amzn-SageMaker-Inference-Id",
}
_TARGETS = {
    b"x-amzn-sagemaker-target-model": "TargetModel",
    b"x-amzn-sagemaker-target-variant": "TargetVariant",
    b"x-amzn-sagemaker-target-container-hostname": "TargetContainerHostname",
}


class AsyncRuntime:
    """Accepts asynchronous invocations."""

    def __init__(self, endpoints: EndpointLookup, async_inference: AsyncInference, faults: Faults) -> None:
        self._endpoints = endpoints
        self._async_inference = async_inference
        self._faults = faults
        self._service = ServiceModel("sagemaker-runtime")
        self._header_members = self._service.header_members(_OPERATION)

    async def invoke(
        self, region: str, name: str, headers: RequestHeaders, body: bytes
    ) -> tuple[ResponseHeaders, bytes]:
        """Run InvokeEndpointAsync; return headers and body of the response, whose status is 202. Raises AwsError."""
        members = self._members(name, headers, body)
        endpoint = serving_endpoint(self._endpoints, region, name)
        settings = endpoint.async_settings
        if settings is None:
            raise ValidationError(
                f"Endpoint {name} is not an asynchronous endpoint and does not support {_OPERATION}; use"
                " InvokeEndpoint, or an endpoint configuration with AsyncInferenceConfig."
            )
        variant = next((variant.name for variant in endpoint.variants), "")
        if self._faults.pending and (fault := self._faults.take(FaultKind.ERROR, name, variant)):
            raise fault.error()
        invocation = _invocation(endpoint, settings, members)
        try:
            self._async_inference.submit(endpoint, invocation, body if invocation.input_location is None else None)
        except QueueError as error:
            raise ServiceUnavailable(f"The request could not be queued: {error}.") from error
        return _response(invocation)

    def _members(self, name: str, headers: RequestHeaders, body: bytes) -> dict[str, Any]:
        """Return the request's members besides the name. Raises ValidationError for those that are not valid."""
        for header, target in _TARGETS.items():
            if header in headers:
                raise ValidationError(f"{_OPERATION} does not support {target}; leave it out.")
        members: dict[str, Any] = {
            member: headers[header].decode("latin-1")
            for header, member in self._header_members.items()
            if header in headers
        }
        for member in _NUMBERS:
            if (text := members.get(member, "")).isdecimal():
                members[member] = int(text)
        if violations := self._service.violations(_OPERATION, {"EndpointName": name, **members, "Body": body}):
            raise ValidationError(violations_message(violations))
        location = members.get("InputLocation")
        if (location is None) == (not body):
            given = "neither" if location is None else "both"
            raise ValidationError(f"Provide exactly one of InputLocation and Body; the request has {given}.")
        if location is not None:
            _check_object(location)
        return members


def _check_object(location: str) -> None:
    try:
        data = ModelData.parse(location)
    except ValueError:
        data = ModelData(None, "")
    if data.bucket is None or not data.key or data.key.endswith("/"):
        raise ValidationError(
            f"InputLocation {location!r} is no address of an object in S3; use s3://BUCKET/KEY or"
            " https://s3-REGION.amazonaws.com/BUCKET/KEY."
        )


def _invocation(endpoint: Endpoint, settings: AsyncSettings, members: Mapping[str, Any]) -> AsyncInvocation:
    identifier = str(uuid.uuid4())
    members = {"InferenceId": str(uuid.uuid4()), **members}
    return AsyncInvocation(
        id=identifier,
        region=endpoint.region,
        endpoint=endpoint.name,
        inference_id=members["InferenceId"],
        input_location=members.get("InputLocation"),
        headers={header: members[member] for member, header in _TO_CONTAINER.items() if member in members},
        received=time.time(),
        ttl_s=members.get("RequestTTLSeconds", _DEFAULT_TTL_S),
        timeout_s=members.get("InvocationTimeoutSeconds", _DEFAULT_TIMEOUT_S),
        output_location=_output_location(endpoint, settings, members, identifier),
        failure_location=_below(settings.failure_path, f"{identifier}-error.out") if settings.failure_path else None,
        settings=settings,
    )


def _output_location(
    endpoint: Endpoint, settings: AsyncSettings, members: Mapping[str, Any], identifier: str
) -> str | None:
    """Return where the response goes; None if it goes to a topic only."""
    path = settings.output_path
    if path is None:
        if settings.success_topic is not None and ResponseTopic.SUCCESS in settings.include_response_in:
            return None
        # The bucket and the prefix that the SageMaker Python SDK chooses if its user does not.
        path = f"s3://sagemaker-{endpoint.region}-{ACCOUNT}/async-endpoint-outputs/{endpoint.name}"
    if extension := members.get("S3OutputPathExtension"):
        path = _below(path, extension)
    return _below(path, members.get("Filename") or f"{identifier}.out")


def _below(path: str, name: str) -> str:
    """Return the address of an object or prefix below another, in the form s3://BUCKET/KEY."""
    return f"{str(ModelData.parse(path)).removesuffix('/')}/{name.strip('/')}"


def _response(invocation: AsyncInvocation) -> tuple[ResponseHeaders, bytes]:
    locations = {
        b"x-amzn-sagemaker-outputlocation": invocation.output_location,
        b"x-amzn-sagemaker-failurelocation": invocation.failure_location,
    }
    headers = [(name, value.encode()) for name, value in locations.items() if value is not None]
    content = json.dumps({"InferenceId": invocation.inference_id}).encode()
    return [(b"content-type", b"application/json"), *headers], content
