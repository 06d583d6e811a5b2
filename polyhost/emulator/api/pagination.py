"""Filters, order and pages of the List operations."""

import base64
import json
from typing import Any

from polyhost.emulator.api.store import Resource
from polyhost.emulator.errors import ValidationException

Members = dict[str, Any]


def page(found: list[Resource], members: Members, default_size: int = 100) -> tuple[list[Resource], str | None]:
    """What the request asks for, and the token of the next page where there is one."""
    by = members.get("SortBy") or "CreationTime"
    descending = (members.get("SortOrder") or "Descending") == "Descending"
    kept = [item for item in found if _wanted(item, members)]
    kept.sort(key=lambda item: _rank(item, by), reverse=descending)
    if token := members.get("NextToken"):
        # Behind the last one that was told, which may be gone by now.
        last = _opened(token)
        try:
            kept = [item for item in kept if (_rank(item, by) < last if descending else _rank(item, by) > last)]
        except TypeError:  # a token of another order
            raise ValidationException("Invalid NextToken.") from None
    size = members.get("MaxResults") or default_size
    shown = kept[:size]
    return shown, _sealed(_rank(shown[-1], by)) if len(kept) > size else None


def _wanted(item: Resource, members: Members) -> bool:
    if (members.get("NameContains") or "").lower() not in item.name.lower():
        return False
    for member, time in (("CreationTime", item.created), ("LastModifiedTime", item.modified)):
        after, before = members.get(f"{member}After"), members.get(f"{member}Before")
        if (after is not None and time < after) or (before is not None and time > before):
            return False
    return True


def _rank(item: Resource, by: str) -> list[Any]:
    first = {"CreationTime": item.created, "Status": item.changes.get("Status", "")}.get(by, "")
    return [first, item.name.lower()]


def _sealed(rank: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(rank).encode()).decode()


def _opened(token: str) -> list[Any]:
    try:
        rank = json.loads(base64.urlsafe_b64decode(token))
    except ValueError:
        rank = None
    if not isinstance(rank, list) or len(rank) != 2:
        raise ValidationException("Invalid NextToken.")
    return rank
