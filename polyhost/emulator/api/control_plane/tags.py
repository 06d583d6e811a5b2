"""Tags of every kind of resource: AddTags, ListTags, DeleteTags."""

from collections.abc import Mapping

from polyhost.emulator.api.control_plane.operation import Members, Operation, OperationRequest
from polyhost.emulator.api.control_plane.store import ResourceStore


class TagOperations:
    """Operations on the tags of a resource, given by its ARN."""

    def __init__(self, store: ResourceStore) -> None:
        self._store = store
        self.operations: Mapping[str, Operation] = {
            "AddTags": self._add,
            "ListTags": self._list,
            "DeleteTags": self._delete,
        }

    async def _add(self, request: OperationRequest) -> Members:
        tags = self._tags(request)
        tags |= {tag["Key"]: tag.get("Value") or "" for tag in request.members["Tags"]}
        self._store.save()
        return {"Tags": _to_list(tags)}

    async def _list(self, request: OperationRequest) -> Members:
        return {"Tags": _to_list(self._tags(request))}

    async def _delete(self, request: OperationRequest) -> Members:
        tags = self._tags(request)
        for key in request.members["TagKeys"]:
            tags.pop(key, None)
        self._store.save()
        return {}

    def _tags(self, request: OperationRequest) -> dict[str, str]:
        return self._store.tags(self._store.require_by_arn(request.members["ResourceArn"]))


def _to_list(tags: dict[str, str]) -> list[Members]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
