"""What the native front end itself refuses; the body of each is a Failure's JSON, as a worker's is."""

from http import HTTPStatus

from polyhost.container.errors import Failure


class Refusal(Exception):  # noqa: N818 - it refuses, nothing has gone wrong
    """An answer that no handler has given. `headers` go with it."""

    def __init__(
        self, status: int, kind: str, message: str, model: str = "", phase: str = "request", **headers: str
    ) -> None:
        super().__init__(message)
        self.failure = Failure(status, kind, message, model, phase)
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    @classmethod
    def of(cls, failure: Failure) -> "Refusal":
        return cls(failure.code, failure.type, failure.message, failure.model, failure.phase)


def bad_request(message: str, model: str = "", phase: str = "request") -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, "BadRequestError", message, model, phase)


def internal_error() -> Refusal:
    return Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", "the front end has failed; the log says how")


def not_loaded(name: str) -> Refusal:
    return Refusal(HTTPStatus.NOT_FOUND, "ModelNotFoundError", f"the model {name!r} is not loaded", name)


def unloading(name: str) -> Refusal:
    return Refusal(
        HTTPStatus.SERVICE_UNAVAILABLE, "ModelUnloadingError", f"the model {name!r} is being unloaded", name, "queue"
    )


def stopping(name: str) -> Refusal:
    message = "the container ends, and no answer came in time (POLYHOST_FINISH_SECONDS)"
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "StoppingError", message, name, "predict")


def queue_full(name: str, length: int) -> Refusal:
    message = (
        f"{length} calls of the model {name!r} wait already; try again, or raise POLYHOST_QUEUE_SIZE, or queue_size in"
        " the archive's polyhost.json"
    )
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "QueueFullError", message, name, "queue", retry_after="1")


def too_much_waits(name: str, limit: int) -> Refusal:
    message = f"the calls that wait, of all models, have {limit >> 20} MB together; try again"
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "QueueFullError", message, name, "queue", retry_after="1")


def load_too_late(name: str, seconds: float) -> Refusal:
    message = f"the model {name!r} was not loaded within {seconds:g} s (POLYHOST_LOAD_TIMEOUT_SECONDS)"
    return Refusal(HTTPStatus.GATEWAY_TIMEOUT, "DeadlineError", message, name, "load")


def too_late(name: str, seconds: float, phase: str) -> Refusal:
    where = "its turn did not come" if phase == "queue" else "it was being answered"
    return Refusal(HTTPStatus.GATEWAY_TIMEOUT, "DeadlineError", f"no answer within {seconds:g} s: {where}", name, phase)
