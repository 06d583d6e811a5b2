"""Why a model cannot have the packages that it asks for."""

from polyhost.handlers.errors import BadModelError, HandlerError


class BadRequirementsError(BadModelError):
    """The archive asks for something that it cannot have; it must be changed."""


class InstallationError(HandlerError):
    """The packages could not be installed this time: another attempt may succeed."""

    phase = "load"


class NoRoomForLayerError(InstallationError):
    """The layers of loaded models leave no room; when some of them are unloaded, there may be."""

    status = 507
