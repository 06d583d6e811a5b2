"""Errors of Application Auto Scaling, as moto's services raise them."""

from moto.core.exceptions import JsonRESTError


class NoSuchRecordError(JsonRESTError):
    """There is no such target, policy or scheduled action."""

    def __init__(self, message: str) -> None:
        super().__init__("ObjectNotFoundException", message)


class InvalidScalingError(JsonRESTError):
    """A request that is not valid."""

    def __init__(self, message: str) -> None:
        super().__init__("ValidationException", message)


class InvalidNextTokenError(JsonRESTError):
    """A token that no page has."""

    def __init__(self, message: str) -> None:
        super().__init__("InvalidNextTokenException", message)
