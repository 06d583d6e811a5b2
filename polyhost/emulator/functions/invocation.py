"""One call of a function, and what comes of it."""

import json
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

MAX_PAYLOAD_BYTES = 6_291_456  # of synchronous calls (developer guide, gettingstarted-limits)


@dataclass(frozen=True)
class FunctionCall:
    """A call. `arn` is the function's as the caller has named it."""

    arn: str
    payload: bytes
    client_context: str = ""
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    trace_id: str = field(default_factory=lambda: f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]}")


@dataclass(frozen=True)
class FunctionResult:
    """What a call has returned, or the error that it ended with; `log` is what the environment logged meanwhile."""

    payload: bytes
    error_type: str = ""
    log: str = ""
    timed_out: bool = False

    @property
    def failed(self) -> bool:
        return bool(self.error_type)


def failure(error_type: str, message: str, timed_out: bool = False) -> FunctionResult:
    """Return a failure in the form in which Lambda itself reports one."""
    content = {"errorType": error_type, "errorMessage": message}
    return FunctionResult(json.dumps(content).encode(), error_type, timed_out=timed_out)


def timestamp() -> str:
    """Return the time as Lambda writes it into logs."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
