"""Failures of a model store, and what callers are told of them."""

import json

from polyhost.container.errors import Failure
from polyhost.model_cache.errors import (
    ContainerGoneError,
    DiskFullError,
    DownloadError,
    LoadRejectedError,
    ModelDataInvalidError,
    ModelDataMissingError,
    ModelDataTooLargeError,
    ModelServingError,
    TargetOutsideError,
)


class StoreUnreachableError(DownloadError):
    """The store does not answer, or not as it should."""


class StoreAccessError(DownloadError):
    """There are no credentials for the store, or it refuses them."""


class LostWhileFetchedError(DownloadError):
    """An object that was there and is not any more when it is to be downloaded."""


# The first class that fits decides. Each has a status of its own, and a type that clients can tell apart.
_KINDS: tuple[tuple[type[ModelServingError], int, str], ...] = (
    (TargetOutsideError, 400, "BadTargetError"),
    (ModelDataMissingError, 404, "ModelNotFoundError"),
    (LostWhileFetchedError, 410, "ModelGoneError"),
    (ModelDataTooLargeError, 413, "ArchiveTooLargeError"),
    (ModelDataInvalidError, 422, "InvalidArchiveError"),
    (StoreAccessError, 502, "StoreAccessError"),
    (DiskFullError, 507, "DiskFullError"),
    (DownloadError, 503, "StoreUnreachableError"),
    (ContainerGoneError, 503, "UnhealthyError"),
)


_REMEDIES = {
    "ModelNotFoundError": "names are paths below the store, such as team/churn.tar.gz",
    "ArchiveTooLargeError": "POLYHOST_UNPACK_MB is the budget for unpacked archives",
}

NOT_READY = "ModelNotReadyError"  # the caller has waited long enough, and the load goes on
_LOAD_FAILED = "LoadError"


def failure_of(error: ModelServingError, target: str) -> Failure:
    """Return what a caller is told when a model of the store could not be had."""
    if isinstance(error, LoadRejectedError):
        return _of_rejected_load(error, target)
    status, kind = _status_and_kind(error)
    remedy = _REMEDIES.get(kind)
    return Failure(status, kind, f"{error}; {remedy}" if remedy else str(error), target, "load")


def kind_of(error: ModelServingError) -> str:
    """Return one of a few names for it: a failed load's own type is the model's to choose."""
    return _LOAD_FAILED if isinstance(error, LoadRejectedError) else _status_and_kind(error)[1]


def _status_and_kind(error: ModelServingError) -> tuple[int, str]:
    for class_, status, kind in _KINDS:
        if isinstance(error, class_):
            return status, kind
    return 500, "InternalError"


def _of_rejected_load(error: LoadRejectedError, target: str) -> Failure:
    """Return the front end's own failure, which its response has as JSON; MMS's has other fields."""
    fields = _json(error.body)
    if (failure := Failure.read(fields)) is not None:
        return failure
    text = fields.get("message") if isinstance(fields, dict) else None
    message = text if isinstance(text, str) else error.body[:2000].decode(errors="replace")
    return Failure(error.status, _LOAD_FAILED, message, target, "load")


def _json(body: bytes) -> object:
    try:
        parsed: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return parsed
