"""API keys and usage plans: who may call, and how often (API Gateway developer guide, api-gateway-api-usage-plans)."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from polyhost.emulator.config import ACCOUNT
from polyhost.emulator.gateway.routes import Route
from polyhost.emulator.gateway.token_buckets import TokenBuckets


class ForbiddenError(Exception):
    """No key, or none that covers the stage."""


class ThrottledError(Exception):
    """Too many requests; the message is API Gateway's."""


class UsagePlans:
    """Checks keys, and counts requests: by plan and key, in memory."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._buckets = TokenBuckets(clock)
        self._used: dict[tuple[str, str], tuple[str, int]] = {}  # the period, and the requests in it

    def admit(self, route: Route, value: str | None) -> tuple[str, str] | None:
        """Return id and value of the key, or None if the method needs none.

        Raises ForbiddenError and ThrottledError.
        """
        if not route.method.api_key_required:
            return None
        for key, plan in _keys_of(route):
            if value and key.value == value:
                self._count(plan, key)
                return str(key.id), str(key.value)
        raise ForbiddenError

    def _count(self, plan: Any, key: Any) -> None:
        place, throttle, quota = (str(plan.id), str(key.id)), plan.throttle, plan.quota
        rate, burst = float(throttle.get("rateLimit") or 0), float(throttle.get("burstLimit") or 0)
        if not self._buckets.take(place, rate, burst):
            raise ThrottledError("Too Many Requests")
        if limit := int(quota.get("limit") or 0):
            period = _period(str(quota.get("period") or "DAY"))
            before, used = self._used.get(place, (period, 0))
            used = used if before == period else int(quota.get("offset") or 0)
            if used >= limit:
                raise ThrottledError("Limit Exceeded")
            self._used[place] = (period, used + 1)


def _keys_of(route: Route) -> Iterator[tuple[Any, Any]]:
    """Yield the enabled keys of the plans that cover the stage."""
    from moto.apigateway.models import apigateway_backends

    backend = apigateway_backends[ACCOUNT][route.region]
    place = (route.api.id, route.stage.name)
    for plan in list(backend.usage_plans.values()):
        if place in [(stage.get("apiId"), stage.get("stage")) for stage in plan.api_stages]:
            for key_id in list(backend.usage_plan_keys.get(plan.id, {})):
                key = backend.keys.get(key_id)
                if key is not None and key.enabled:
                    yield key, plan


def _period(kind: str) -> str:
    today = datetime.now(UTC).date()
    if kind == "MONTH":
        return today.strftime("%Y-%m")
    return str(today - timedelta(days=today.weekday()) if kind == "WEEK" else today)
