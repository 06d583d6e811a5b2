"""Requests that the native front end rejects itself; each response's body is a `Failure` as JSON, like a worker's."""

from http import HTTPStatus
from typing import Self

from polyhost.container.errors import Failure


class Rejection(Exception):  # noqa: N818 - a regular outcome of a request, not a fault of the program
    """A response of the front end itself, without a worker; `headers` are sent with it."""

    def __init__(
        self, status: int, kind: str, message: str, model: str = "", phase: str = "request", **headers: str
    ) -> None:
        super().__init__(message)
        self.failure = Failure(status, kind, message, model, phase)
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    @classmethod
    def of(cls, failure: Failure) -> Self:
        """Return the rejection that passes `failure` on to the client."""
        return cls(failure.code, failure.type, failure.message, failure.model, failure.phase)


def bad_request(message: str, model: str = "", phase: str = "request") -> Rejection:
    return Rejection(HTTPStatus.BAD_REQUEST, "BadRequestError", message, model, phase)


def internal_error() -> Rejection:
    message = "internal error in the front end; see the container's log"
    return Rejection(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", message)


def not_loaded(name: str) -> Rejection:
    return Rejection(HTTPStatus.NOT_FOUND, "ModelNotFoundError", f"model {name!r} is not loaded", name)


def unloading(name: str) -> Rejection:
    message = f"model {name!r} is being unloaded"
    return Rejection(HTTPStatus.SERVICE_UNAVAILABLE, "ModelUnloadingError", message, name, "queue")


def stopping(name: str, operation: str = "predict") -> Rejection:
    message = "the container is stopping; no response within the time that POLYHOST_FINISH_SECONDS allows"
    return Rejection(HTTPStatus.SERVICE_UNAVAILABLE, "StoppingError", message, name, operation)


def queue_full(name: str, length: int) -> Rejection:
    message = (
        f"{length} requests are queued for model {name!r} already; retry later, or raise POLYHOST_QUEUE_SIZE, or"
        " queue_size in the archive's polyhost.json"
    )
    return Rejection(HTTPStatus.SERVICE_UNAVAILABLE, "QueueFullError", message, name, "queue", retry_after="1")


def pending_bytes_exceeded(name: str, limit: int) -> Rejection:
    """Return the rejection for when the pending requests of all models hold `limit` bytes or more."""
    message = f"pending requests of all models exceed {limit >> 20} MiB; retry later"
    return Rejection(HTTPStatus.SERVICE_UNAVAILABLE, "QueueFullError", message, name, "queue", retry_after="1")


def load_deadline_exceeded(name: str, seconds: float) -> Rejection:
    message = f"model {name!r} did not load within {seconds:g} s (POLYHOST_LOAD_TIMEOUT_SECONDS)"
    return Rejection(HTTPStatus.GATEWAY_TIMEOUT, "DeadlineError", message, name, "load")


def deadline_exceeded(name: str, seconds: float, phase: str) -> Rejection:
    where = "still queued" if phase == "queue" else "its prediction was still running"
    message = f"no response within {seconds:g} s: {where}"
    return Rejection(HTTPStatus.GATEWAY_TIMEOUT, "DeadlineError", message, name, phase)
