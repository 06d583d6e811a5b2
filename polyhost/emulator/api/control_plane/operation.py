"""Operations of the control plane, as the dispatcher calls them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

Members = dict[str, Any]


@dataclass(frozen=True)
class OperationRequest:
    """A request whose members fit the operation's input shape.

    `from_waiter`: a waiter sent it (api/waiters.py), which prefers a late response to asking again.
    """

    region: str
    members: Members
    from_waiter: bool = False


Operation = Callable[[OperationRequest], Awaitable[Members]]
