"""A function's settings for asynchronous calls (Lambda developer guide, invocation-async)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# A minute before the second attempt, two before the third.
RETRY_S = (60.0, 120.0)
_MAX_AGE_S = 21_600.0


@dataclass(frozen=True)
class EventSettings:
    """The pauses before further attempts, the age at which an event is given up, and where its outcome goes (ARNs)."""

    retry_s: tuple[float, ...] = RETRY_S
    max_age_s: float = _MAX_AGE_S
    on_success: str = ""
    on_failure: str = ""
    dead_letters: str = ""

    @classmethod
    def of(cls, config: Mapping[str, Any], dead_letters: str) -> "EventSettings":
        """Read the members of PutFunctionEventInvokeConfig, as moto keeps them."""
        retries, destinations = config.get("MaximumRetryAttempts"), config.get("DestinationConfig") or {}
        return cls(
            retry_s=RETRY_S if retries is None else RETRY_S[: int(retries)],
            max_age_s=float(config.get("MaximumEventAgeInSeconds") or _MAX_AGE_S),
            on_success=str((destinations.get("OnSuccess") or {}).get("Destination") or ""),
            on_failure=str((destinations.get("OnFailure") or {}).get("Destination") or ""),
            dead_letters=dead_letters,
        )
