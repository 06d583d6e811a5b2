"""Why an asynchronous invocation failed, in the words of the error notification."""

from polyhost.emulator.api.runtime_errors import error_for_failure, error_for_response
from polyhost.emulator.async_inference.invocation import AsyncInvocation
from polyhost.emulator.errors import EmulatorError, ModelError
from polyhost.emulator.hosting.endpoint import Endpoint
from polyhost.emulator.hosting.interfaces import ContainerResponse
from polyhost.model_cache.errors import ModelServingError


class AsyncFailureError(EmulatorError):
    """An invocation has failed for good.

    reason: `failureReason` of the notification; AWS's begin with "ClientError: ".
    detail: what the endpoint's log says.
    metric: what counts failures of this kind, besides InvocationFailures.
    response: what the container responded, if it did.
    """

    def __init__(
        self, reason: str, detail: str = "", metric: str = "", response: ContainerResponse | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = f"ClientError: {reason}"
        self.detail = detail or reason
        self.metric = metric
        self.response = response


class InstanceGoneError(EmulatorError):
    """The instance went away before it had answered, so the invocation has to wait for another one.

    `begun` says that the container may have run it.
    """

    def __init__(self, message: str, begun: bool) -> None:
        super().__init__(message)
        self.begun = begun


def failure_for_response(response: ContainerResponse, endpoint: Endpoint) -> AsyncFailureError:
    """Return the failure for a container's response whose status is not 2xx."""
    side = "client" if response.status < 500 else "server"
    reason = (
        f"Received {side} error ({response.status}) from model. See the SageMaker Endpoint logs in your account for"
        " more information."
    )
    return AsyncFailureError(reason, error_for_response(response, endpoint).message or "", response=response)


def failure_for_error(error: ModelServingError, endpoint: Endpoint) -> AsyncFailureError:
    """Return the failure of an invocation to which the container did not respond."""
    shown = error_for_failure(error, endpoint)
    text = shown.members["OriginalMessage"] if isinstance(shown, ModelError) else shown.message
    return AsyncFailureError(text or str(error), shown.message or "")


def expiry(invocation: AsyncInvocation) -> AsyncFailureError:
    """Return the failure of an invocation that waited for too long."""
    return AsyncFailureError(
        f"The request expired: it was in the queue for longer than its RequestTTLSeconds, {invocation.ttl_s}.",
        metric="ExpiredRequests",
    )
