"""Faults on demand, for tests of clients: what goes wrong next, and where."""

from dataclasses import dataclass
from enum import StrEnum

from polyhost.emulator.errors import (
    AccessDenied,
    AwsError,
    InternalDependencyException,
    ModelNotReady,
    ServiceUnavailable,
    ThrottlingException,
)


class FaultKind(StrEnum):
    """What goes wrong."""

    SLOW_LOAD = "slow-load"
    REFUSE_LOAD = "refuse-load"
    KILL_CONTAINER = "kill-container"
    TIME_OUT = "time-out"
    ERROR = "error"


# Errors that the runtime may return though nothing is wrong with the invocation, the model or the emulator.
ERRORS: dict[str, type[AwsError]] = {
    error.code: error
    for error in (
        AccessDenied,
        AwsError,
        InternalDependencyException,
        ModelNotReady,
        ServiceUnavailable,
        ThrottlingException,
    )
}


@dataclass
class Fault:
    """A fault that hits the next `count` occasions after the next `skip` of them; an empty filter fits all."""

    kind: FaultKind
    count: int = 1
    skip: int = 0
    seconds: float = 5.0  # of a slow load
    code: str = ""  # of an error, one of ERRORS
    endpoint: str = ""
    variant: str = ""
    model: str = ""

    def error(self) -> AwsError:
        kind = ERRORS[self.code]
        return kind(None if kind is ThrottlingException else "A fault on demand.")


class Faults:
    """The faults that are still to come."""

    def __init__(self) -> None:
        self.pending: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self.pending.append(fault)

    def clear(self) -> None:
        self.pending.clear()

    def take(
        self, kind: FaultKind, endpoint: str, variant: str, model: str = "", by_name: bool = False
    ) -> Fault | None:
        """Return the fault that hits this occasion, if one does, and count the occasion.

        With `by_name`, only a fault that names the variant does.
        """
        for fault in self.pending:
            filters = ((fault.endpoint, endpoint), (fault.variant, variant), (fault.model, model))
            unnamed = by_name and not fault.variant
            if fault.kind != kind or unnamed or any(wanted and wanted != given for wanted, given in filters):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            fault.count -= 1
            if fault.count <= 0:
                self.pending.remove(fault)
            return fault
        return None
