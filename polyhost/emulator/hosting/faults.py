"""Faults on demand, for testing clients: what goes wrong next, and where."""

from dataclasses import dataclass
from typing import Literal

from polyhost.emulator.errors import (
    AccessDenied,
    AwsError,
    InternalDependencyException,
    ModelNotReady,
    ServiceUnavailable,
    ThrottlingException,
)

Kind = Literal["slow-load", "refuse-load", "kill-container", "time-out", "error"]
# What the runtime may answer where nothing is wrong with the call, the model or the emulator.
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
    """`count` further occasions are hit after `skip` of them have gone by; empty filters fit all."""

    kind: Kind
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
    """Those that are still to come."""

    def __init__(self) -> None:
        self.pending: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self.pending.append(fault)

    def clear(self) -> None:
        self.pending.clear()

    def take(self, kind: Kind, endpoint: str, variant: str, model: str = "") -> Fault | None:
        """The fault that is due on this occasion, counted off."""
        for fault in self.pending:
            filters = ((fault.endpoint, endpoint), (fault.variant, variant), (fault.model, model))
            if fault.kind != kind or any(wanted and wanted != given for wanted, given in filters):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            fault.count -= 1
            if fault.count <= 0:
                self.pending.remove(fault)
            return fault
        return None
