"""ModelError and its like, with the texts, statuses and limits of the service."""

from polyhost.emulator.config import ACCOUNT
from polyhost.emulator.errors import ModelError, ServiceUnavailable, ValidationError
from polyhost.emulator.hosting.endpoint import Endpoint
from polyhost.emulator.hosting.failure_reasons import model_data_missing
from polyhost.emulator.hosting.interfaces import ContainerResponse
from polyhost.emulator.hosting.pipeline import PayloadTooLargeError
from polyhost.model_cache.errors import (
    ContainerGoneError,
    ContainerTimeoutError,
    DownloadError,
    LoadRejectedError,
    ModelDataInvalidError,
    ModelDataMissingError,
    ModelServingError,
)
from polyhost.runtime_api.errors import model_error, model_error_with


def error_for_response(response: ContainerResponse, endpoint: Endpoint) -> ModelError:
    """Return the error for a container's response whose status is not 2xx."""
    text = response.body.decode(errors="replace")
    return _model_error(endpoint, response.status, text, response.container)


def error_for_failure(
    error: ModelServingError, endpoint: Endpoint
) -> ModelError | ValidationError | ServiceUnavailable:
    """Return the error for an invocation to which the model did not respond."""
    if isinstance(error, ModelDataMissingError):
        return ValidationError(model_data_missing(error))
    if isinstance(error, ModelDataInvalidError):
        return ValidationError(f"Failed to unpack the model data: {error}")
    if isinstance(error, DownloadError):
        return ServiceUnavailable(f"Failed to download model data: {error}")
    if isinstance(error, LoadRejectedError):
        return _model_error(endpoint, error.status, error.body.decode(errors="replace"), error.container)
    if isinstance(error, PayloadTooLargeError):
        return _error(endpoint, 0, str(error), f"{error} {_see(endpoint)}")
    if isinstance(error, ContainerTimeoutError):
        text = (
            f"Your invocation timed out while waiting for a response from container {error.container or 'primary'}."
            " Review the latency metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
        )
    else:
        assert isinstance(error, ContainerGoneError), error
        text = (
            f"Amazon SageMaker could not get a response from the {endpoint.name} endpoint. This can occur when CPU or"
            f" memory utilization is high. ({error})"
        )
    return _model_error(endpoint, 0, text, error.container)


def _model_error(endpoint: Endpoint, status: int, text: str, container: str) -> ModelError:
    return model_error(status, text, container, _see(endpoint), LogStreamArn=_log_stream(endpoint))


def _error(endpoint: Endpoint, status: int, text: str, message: str) -> ModelError:
    return model_error_with(message, status, text, LogStreamArn=_log_stream(endpoint))


def _log_stream(endpoint: Endpoint) -> str:
    return f"arn:aws:logs:{endpoint.region}:{ACCOUNT}:log-group:{_group(endpoint)}"


def _see(endpoint: Endpoint) -> str:
    console = f"https://{endpoint.region}.console.aws.amazon.com/cloudwatch/home?region={endpoint.region}"
    return f"See {console}#logEventViewer:group={_group(endpoint)} in account {ACCOUNT} for more information."


def _group(endpoint: Endpoint) -> str:
    return f"/aws/sagemaker/Endpoints/{endpoint.name}"
