"""Errors of Lambda's API (botocore lambda/2015-03-31)."""

from polyhost.emulator.errors import AwsError


class FunctionNotFound(AwsError):
    code = "ResourceNotFoundException"
    status = 404


class InvalidParameterValue(AwsError):
    code = "InvalidParameterValueException"
    status = 400


class InvalidRequestContent(AwsError):
    code = "InvalidRequestContentException"
    status = 400


class RequestTooLarge(AwsError):
    code = "RequestEntityTooLargeException"
    status = 413


class TooManyRequests(AwsError):
    """Member Reason (botocore, ThrottleReason)."""

    code = "TooManyRequestsException"
    status = 429


class InvalidRuntime(AwsError):
    code = "InvalidRuntimeException"
    status = 502


class InvalidZipFile(AwsError):
    code = "InvalidZipFileException"
    status = 502
