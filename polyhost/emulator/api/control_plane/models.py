"""Models: CreateModel, DescribeModel, ListModels, DeleteModel."""

from collections.abc import Mapping

from polyhost.emulator.api.control_plane.container_specs import container_specs
from polyhost.emulator.api.control_plane.operation import Members, Operation, OperationRequest
from polyhost.emulator.api.control_plane.pagination import list_page
from polyhost.emulator.api.control_plane.store import ResourceKind, ResourceStore
from polyhost.emulator.errors import ImageError, ValidationException
from polyhost.emulator.hosting.interfaces import Driver


class ModelOperations:
    """Operations on models, which are records only."""

    def __init__(self, driver: Driver, store: ResourceStore) -> None:
        self._driver = driver
        self._store = store
        self.operations: Mapping[str, Operation] = {
            "CreateModel": self._create,
            "DescribeModel": self._describe,
            "ListModels": self._list,
            "DeleteModel": self._delete,
        }

    async def _create(self, request: OperationRequest) -> Members:
        region, members = request.region, request.members
        specs = container_specs(members)
        self._store.require_absent(region, ResourceKind.MODEL, members["ModelName"])
        try:
            for spec in specs:
                await self._driver.check(spec.image, spec.multi_model, len(specs) > 1)
        except ImageError as error:
            raise ValidationException(str(error)) from None
        # Again: another request may have created the model during the check.
        self._store.require_absent(region, ResourceKind.MODEL, members["ModelName"])
        return {"ModelArn": self._store.create(region, ResourceKind.MODEL, members).arn}

    async def _describe(self, request: OperationRequest) -> Members:
        model = self._store.require(request.region, ResourceKind.MODEL, request.members["ModelName"])
        defaults = {"EnableNetworkIsolation": False}
        return defaults | model.request | {"ModelArn": model.arn, "CreationTime": model.created}

    async def _list(self, request: OperationRequest) -> Members:
        found, token = list_page(self._store.of_kind(ResourceKind.MODEL, request.region), request.members)
        models = [{"ModelName": item.name, "ModelArn": item.arn, "CreationTime": item.created} for item in found]
        return {"Models": models, "NextToken": token}

    async def _delete(self, request: OperationRequest) -> Members:
        self._store.remove(self._store.require(request.region, ResourceKind.MODEL, request.members["ModelName"]))
        return {}
