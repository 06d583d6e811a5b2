"""Errors of CloudFormation: those that its clients get, and those that end a change of a stack."""

from polyhost.emulator.cloudformation.physical import Physical
from polyhost.emulator.errors import AwsError, EmulatorError


class StackExists(AwsError):  # noqa: N818 - AWS's name, without its ending
    code = "AlreadyExistsException"
    status = 400


class InsufficientCapabilities(AwsError):  # noqa: N818 - the same
    code = "InsufficientCapabilitiesException"
    status = 400


class ChangeSetNotFound(AwsError):  # noqa: N818 - the same
    code = "ChangeSetNotFound"
    status = 404


class InvalidChangeSetStatus(AwsError):  # noqa: N818 - the same
    code = "InvalidChangeSetStatus"
    status = 400


class ResourceError(EmulatorError):
    """A resource could not be made, changed or deleted; the message becomes the event's reason.

    `made` is what there is of it all the same, and is to be deleted.
    """

    made: Physical | None = None


class ChangeCancelledError(ResourceError):
    """The change of the stack was cancelled."""


class EmulatorStoppingError(EmulatorError):
    """The emulator stops: a stack's change ends where it is."""
