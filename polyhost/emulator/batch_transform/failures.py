"""Why objects and jobs fail, in the words of SageMaker as far as they are known from public logs."""

from enum import StrEnum

from polyhost.emulator.errors import ContainerError, EmulatorError, ImageError
from polyhost.emulator.hosting.failure_reasons import MAX_REASON_CHARS, model_data_failure
from polyhost.emulator.hosting.interfaces import VariantSpec
from polyhost.model_cache.errors import DownloadError

_SEE_LOGS = "See job logs for more information"
# aws/amazon-sagemaker-examples, issue 852.
_NO_PING = (
    "Model container failed to respond to ping. Please ensure /ping endpoint is implemented and responds with an HTTP"
    " 200 status code"
)


class FailureKind(StrEnum):
    """What a failure is put down to; the values begin a FailureReason."""

    CLIENT = "ClientError"
    ALGORITHM = "AlgorithmError"
    INTERNAL = "InternalServerError"


class TransformError(EmulatorError):
    """An object or a whole job cannot be transformed. `detail` is for the log: what the container responded."""

    def __init__(self, kind: FailureKind, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.detail = detail


class ContainersLostError(TransformError):
    """An instance's containers ended and did not come back: no object can be transformed there."""


def start_failure(error: Exception, spec: VariantSpec) -> TransformError:
    """Return the error of a job whose containers did not start."""
    if isinstance(error, ImageError):
        return TransformError(FailureKind.CLIENT, str(error))
    if isinstance(error, DownloadError):
        return TransformError(FailureKind.CLIENT, model_data_failure(error, spec))
    if isinstance(error, ContainerError):
        named = f"{', '.join(error.containers)}: " if error.containers else ""
        return TransformError(FailureKind.ALGORITHM, f"{_NO_PING} ({named}{error})")
    return TransformError(FailureKind.INTERNAL, f"the instances did not start: {error!r}")


def reason_for_job(error: TransformError) -> str:
    """Return the FailureReason of a job that processed no object."""
    return f"{error.kind}: {error}"[:MAX_REASON_CHARS]


def reason_for_objects(failed: dict[str, TransformError], total: int) -> str:
    """Return the FailureReason of a job of which some objects failed; `failed` has their addresses."""
    uri, first = next(iter(failed.items()))
    return f"{first.kind}: {_SEE_LOGS} ({len(failed)} of {total} objects failed; {uri}: {first})"[:MAX_REASON_CHARS]
