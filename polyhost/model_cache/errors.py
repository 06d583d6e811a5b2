"""What can go wrong between an invocation and its model."""


class ModelServingError(Exception):
    """Base of the errors of downloads, loads and the container.

    `container` is the name of the container, if there are several that it could be.
    """

    container = ""


class DownloadError(ModelServingError):
    """An archive could not be brought to the disk."""


class DiskFullError(DownloadError):
    """The machine's disk has no room left, even if the budget has."""


class ModelDataMissingError(DownloadError):
    """There is no object at the address `url`."""

    def __init__(self, url: str, message: str = "") -> None:
        super().__init__(message or f"there is no object at {url}")
        self.url = url


class TargetOutsideError(ModelDataMissingError):
    """The name of a model leads out of the folder that its archive should lie in."""


class ModelDataInvalidError(DownloadError):
    """The object is not a gzip-compressed tar, must not be unpacked, or is too large."""


class ModelDataTooLargeError(ModelDataInvalidError):
    """The object is larger than its volume, packed or unpacked."""


class LoadRejectedError(ModelServingError):
    """The container answered a load with an error; `status` and `body` are its own."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"the container answered the load with {status}: {body[:2000].decode(errors='replace')}")
        self.status = status
        self.body = body


class ContainerGoneError(ModelServingError):
    """The container closed the connection without an answer, or does not listen.

    `may_retry`: the request had not reached a model yet, so another container may take it.
    """

    def __init__(self, message: str, may_retry: bool = False) -> None:
        super().__init__(message)
        self.may_retry = may_retry


class LostWhileLoadingError(ContainerGoneError):
    """The container ended during a load, perhaps because of it."""


class ContainerTimeoutError(ModelServingError):
    """The container did not answer in time."""
