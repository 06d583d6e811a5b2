"""Failures of hosting in the words of SageMaker."""

from polyhost.emulator.errors import ContainerError, ImageError
from polyhost.emulator.hosting.interfaces import VariantSpec
from polyhost.model_cache.errors import DownloadError, ModelDataMissingError, TargetOutsideError

MAX_REASON_CHARS = 1024  # botocore, FailureReason


def model_data_missing(error: ModelDataMissingError) -> str:
    """Return the service's sentence about an object that does not exist."""
    return str(error) if isinstance(error, TargetOutsideError) else _not_downloaded(error.url, error.container)


def failure_reason(error: BaseException, spec: VariantSpec) -> str:
    """Return the service's sentence, if it is known, and the cause, of which the end says most."""
    if isinstance(error, ImageError):
        return str(error)[:MAX_REASON_CHARS]
    if isinstance(error, DownloadError):
        return model_data_failure(error, spec)
    if isinstance(error, ContainerError):
        containers = f"{', '.join(error.containers) or 'primary'} container{'s' if len(error.containers) > 1 else ''}"
        sentence = (
            f"The {containers} for production variant {spec.name} did not pass the ping health check."
            " Please check CloudWatch logs for this endpoint."
        )
    else:  # the machine has no disk, process or port left
        sentence = "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error."
    return _with_cause(sentence, error)


def model_data_failure(error: DownloadError, spec: VariantSpec) -> str:
    """Return the service's sentence about model data that could not be downloaded or unpacked, and the cause."""
    if isinstance(error, ModelDataMissingError):
        return model_data_missing(error)[:MAX_REASON_CHARS]
    failed = next((item for item in spec.containers if item.name == error.container), spec.containers[0])
    return _with_cause(_not_downloaded(failed.model_data_url, error.container), error)


def _with_cause(sentence: str, error: BaseException) -> str:
    room = MAX_REASON_CHARS - len(sentence) - len(" ()")
    cause = str(error) or repr(error)
    return f"{sentence} ({cause if len(cause) <= room else '…' + cause[-room + 1 :]})"


def _not_downloaded(url: str | None, container: str) -> str:
    return (
        f'Failed to download model data for container "{container or "container_1"}" from URL: "{url}". Please ensure'
        " that there is an object located at the URL and that the role passed to CreateModel has permissions to"
        " download the object."
    )
