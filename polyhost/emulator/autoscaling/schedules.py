"""Schedules of scheduled actions: at(...), rate(...) and cron(...)."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aws_croniter import AwsCroniter

from polyhost.emulator.time_scale import TimeScale

NextTime = Callable[[float], float | None]  # the first time after another, in seconds since 1970

_EXPRESSION = re.compile(r"(at|rate|cron)\((.*)\)")
_RATE = re.compile(r"(\d+) (minute|minutes|hour|hours|day|days)")
_UNITS_S = {"minute": 60, "hour": 3600, "day": 86_400}


def schedule(expression: str, timezone: str | None, anchor: float, scale: TimeScale) -> NextTime:
    """Return the times of a schedule; those of a rate begin at `anchor`. Raises ValueError.

    A rate is scaled, as all periods are. `at` and `cron` name times of the clock, and are not.
    """
    found = _EXPRESSION.fullmatch(expression)
    zone = _zone(timezone or "UTC")
    if found is None:
        raise ValueError(f"Schedule {expression!r} is invalid; it must be at(...), rate(...) or cron(...).")
    kind, content = found.groups()
    if kind == "at":
        return _at(expression, content, zone)
    return _rate(expression, content, anchor, scale) if kind == "rate" else _cron(expression, content, zone)


def _at(expression: str, content: str, zone: ZoneInfo) -> NextTime:
    try:
        at = datetime.strptime(content, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=zone).timestamp()
    except ValueError:
        raise ValueError(f"Schedule {expression!r} is invalid; it must be at(yyyy-mm-ddThh:mm:ss).") from None
    return lambda after: at if at > after else None


def _rate(expression: str, content: str, anchor: float, scale: TimeScale) -> NextTime:
    found = _RATE.fullmatch(content)
    if found is None or int(found[1]) < 1:
        raise ValueError(f"Schedule {expression!r} is invalid; it must be rate(NUMBER minutes), hours or days.")
    period = scale.passing(int(found[1]) * _UNITS_S[found[2].rstrip("s")])
    return lambda after: anchor + period * (max(0, (after - anchor) // period) + 1)


def _cron(expression: str, content: str, zone: ZoneInfo) -> NextTime:
    try:
        times = AwsCroniter(content)
    except Exception as error:  # of several classes without a common one
        raise ValueError(f"Schedule {expression!r} is invalid: {error}.") from None

    def following(after: float) -> float | None:
        # The library counts in UTC only: it is given the time of the zone's clocks for it.
        local = datetime.fromtimestamp(after, zone).replace(tzinfo=UTC)
        found: list[Any] = times.get_next(local, 1)
        if not found or found[0] is None:
            return None
        at: float = found[0].replace(tzinfo=zone).timestamp()
        # An hour that a zone's clocks repeat must not lead back.
        return at if at > after else at + 3600

    return following


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"Timezone {name!r} is unknown; give a name such as Asia/Seoul.") from None
