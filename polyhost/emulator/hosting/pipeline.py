"""A serial inference pipeline: each container's response is the next one's request (developer guide)."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from polyhost.emulator.hosting.hosted_container import HostedContainer
from polyhost.emulator.hosting.interfaces import ContainerResponse, InvocationRequest
from polyhost.model_cache.errors import ContainerGoneError, ContainerTimeoutError, ModelServingError

_MAX_PAYLOAD_BYTES = 5 << 20
_FOR_THE_LAST = "Accept"  # the client's: what the others respond with, the next one has to read


class PayloadTooLargeError(ModelServingError):
    """What one container responded is too long for a request to the next."""


async def run_pipeline(containers: Sequence[HostedContainer], request: InvocationRequest) -> ContainerResponse:
    """Return the last container's response, or the first with an error; `container_us` is that of all.

    Raises ModelNotReady and ModelServingError.
    """
    deadline = time.monotonic() + request.timeout_s
    spent_us, waited_us, hit = 0, 0, True
    headers, body = request.headers, request.body
    response: ContainerResponse | None = None
    for container in containers:
        if response is not None:
            _check_payload(response, container)
            headers, body = _next_headers(request.headers, response), response.body
        last = container is containers[-1]
        step = replace(
            request,
            body=body,
            headers=headers if last else {name: headers[name] for name in headers if name != _FOR_THE_LAST},
            timeout_s=deadline - time.monotonic(),
            relay=request.relay if last else None,
            body_file=request.body_file if response is None else None,
        )
        response = await _step(container, step, begun=container is not containers[0])
        spent_us += response.container_us
        waited_us += response.waited_us
        hit = hit and response.cache_hit
        if not 200 <= response.status < 300:
            break
    assert response is not None
    return replace(response, container_us=spent_us, waited_us=waited_us, cache_hit=hit)


async def _step(container: HostedContainer, request: InvocationRequest, begun: bool) -> ContainerResponse:
    if request.timeout_s <= 0:
        late = ContainerTimeoutError("the containers before it took all of the time")
        late.container = container.spec.name
        raise late
    try:
        return await container.invoke(request)
    except ContainerGoneError as error:
        if begun:
            error.may_retry = False  # other containers have served the request already
        raise


def _check_payload(response: ContainerResponse, to: HostedContainer) -> None:
    size = len(response.body)
    if size > _MAX_PAYLOAD_BYTES:
        source, target = response.container, to.spec.name
        error = PayloadTooLargeError(
            f"Received response from {source} with status code {response.status}. However, the request payload from"
            f" {source} to {target} is {size} bytes, which has exceeded the maximum limit of 5 MB."
        )
        error.container = source
        raise error


def _next_headers(first: Mapping[str, str], response: ContainerResponse) -> dict[str, str]:
    """Return the first request's headers with the response's content type."""
    passed = {name: value for name, value in first.items() if name != "Content-Type"}
    content_type = response.headers.get("content-type")
    return passed | ({"Content-Type": content_type} if content_type else {})
