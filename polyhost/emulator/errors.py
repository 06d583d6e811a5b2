"""Errors of the emulator: those that AWS's clients get, by AWS's names, and those of hosting behind them.

Those of the runtime are polyhost.runtime_api's, which the container has too.
"""

from polyhost.runtime_api.errors import (
    AccessDenied,
    AwsError,
    InternalDependencyException,
    ModelError,
    ModelNotReady,
    ServiceUnavailable,
    ValidationError,
)

__all__ = [
    "AccessDenied",
    "AwsError",
    "ContainerError",
    "EmulatorError",
    "EntityTooLarge",
    "HostingError",
    "ImageError",
    "InternalDependencyException",
    "ModelError",
    "ModelNotReady",
    "NotEmulated",
    "RequestTimeout",
    "ResourceLimitExceeded",
    "ResourceNotFound",
    "ServiceUnavailable",
    "StartError",
    "ThrottlingException",
    "UnknownOperation",
    "ValidationError",
    "ValidationException",
]


class EmulatorError(Exception):
    """Base of all errors that the emulator raises."""


class StartError(EmulatorError):
    """The emulator cannot start, e.g. because its port is in use; the message names the remedy."""


# Control plane (botocore sagemaker/2017-07-24)


class ValidationException(AwsError):
    code = "ValidationException"
    status = 400


class ResourceInUse(AwsError):
    code = "ResourceInUse"
    status = 400


class ResourceLimitExceeded(AwsError):
    code = "ResourceLimitExceeded"
    status = 400


class ResourceNotFound(AwsError):
    code = "ResourceNotFound"
    status = 400


class UnknownOperation(AwsError):
    code = "UnknownOperationException"
    status = 400


# Runtime (botocore sagemaker-runtime/2017-05-13)


class ThrottlingException(AwsError):
    """The error of throttled requests: not in botocore's model, with null for a message.

    Source: opensearch-project/ml-commons, issue 2429.
    """

    code = "ThrottlingException"
    status = 400


# The rest of AWS


class NotEmulated(AwsError):
    """The emulator lacks the operation. SDKs try again after 500, 502, 503 and 504, but not after 501."""

    code = "NotImplemented"
    status = 501


class EntityTooLarge(AwsError):
    code = "EntityTooLarge"
    status = 400


class RequestTimeout(AwsError):
    code = "RequestTimeout"
    status = 400


# Hosting: raised when an endpoint is created or updated. polyhost.model_cache.errors has those of invocations.


class HostingError(EmulatorError):
    """Base of the errors of endpoints' containers."""


class ImageError(HostingError):
    """The image does not exist, or lacks a label; the message is AWS's."""


class ContainerError(HostingError):
    """A container did not start, or did not respond to /ping in time; the message ends with its last output.

    `containers` are the names of those containers, if the instance has several.
    """

    containers: tuple[str, ...] = ()


# Data of jobs and of asynchronous invocations.


class StorageError(EmulatorError):
    """An object could not be read or written; the message names its address and the remedy."""


class BucketMissingError(StorageError):
    """There is no bucket of this name."""


class ObjectMissingError(StorageError):
    """There is no object at this address."""
