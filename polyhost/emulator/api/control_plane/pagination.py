"""Filters, order and pagination of the List operations."""

import base64
import json
from typing import Any

from polyhost.emulator.api.control_plane.operation import Members
from polyhost.emulator.api.control_plane.store import Resource
from polyhost.emulator.errors import ValidationException

_DEFAULT_SIZE = 100


def list_page(
    resources: list[Resource], members: Members, default_size: int = _DEFAULT_SIZE
) -> tuple[list[Resource], str | None]:
    """Return the list page that a request asks for, and the token of the next one, if there is one."""
    by = members.get("SortBy") or "CreationTime"
    descending = (members.get("SortOrder") or "Descending") == "Descending"
    matching = [item for item in resources if _matches(item, members)]
    matching.sort(key=lambda item: _sort_key(item, by), reverse=descending)
    if token := members.get("NextToken"):
        # A token holds a sort key, not an index: the last resource of the previous list page may have been deleted.
        last = _decode(token)
        try:
            matching = [
                item for item in matching if (_sort_key(item, by) < last if descending else _sort_key(item, by) > last)
            ]
        except TypeError:  # a token of another sort order
            raise ValidationException("Invalid NextToken.") from None
    size = members.get("MaxResults") or default_size
    shown = matching[:size]
    return shown, _encode(_sort_key(shown[-1], by)) if len(matching) > size else None


def _matches(item: Resource, members: Members) -> bool:
    if (members.get("NameContains") or "").lower() not in item.name.lower():
        return False
    for member, time in (("CreationTime", item.created), ("LastModifiedTime", item.modified)):
        after, before = members.get(f"{member}After"), members.get(f"{member}Before")
        if (after is not None and time < after) or (before is not None and time > before):
            return False
    return True


def _sort_key(item: Resource, by: str) -> list[Any]:
    first = {"CreationTime": item.created, "Status": item.changes.get("Status", "")}.get(by, "")
    return [first, item.name.lower()]


def _encode(sort_key: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(sort_key).encode()).decode()


def _decode(token: str) -> list[Any]:
    try:
        sort_key = json.loads(base64.urlsafe_b64decode(token))
    except ValueError:
        sort_key = None
    if not isinstance(sort_key, list) or len(sort_key) != 2:
        raise ValidationException("Invalid NextToken.")
    return sort_key
