"""Definitions of monitoring jobs: Create-, Describe-, List- and Delete-, for data quality and for model quality."""

from collections.abc import Mapping

from polyhost.emulator.api.control_plane.monitoring_specs import spec_of_definition
from polyhost.emulator.api.control_plane.operation import Members, Operation, OperationRequest
from polyhost.emulator.api.control_plane.pagination import list_page
from polyhost.emulator.api.control_plane.store import Resource, ResourceKind, ResourceStore
from polyhost.emulator.errors import ResourceInUse, ResourceNotFound
from polyhost.emulator.monitoring.spec import MonitoringType

_KINDS = {
    MonitoringType.DATA_QUALITY: ResourceKind.DATA_QUALITY_JOB_DEFINITION,
    MonitoringType.MODEL_QUALITY: ResourceKind.MODEL_QUALITY_JOB_DEFINITION,
}
_DEFAULT_PAGE_SIZE = 10  # botocore, ListDataQualityJobDefinitions and ListModelQualityJobDefinitions


class JobDefinitionOperations:
    """Operations on the definitions of a type, which are records only."""

    def __init__(self, store: ResourceStore, of: MonitoringType) -> None:
        self._store = store
        self._of = of
        self.operations: Mapping[str, Operation] = {
            f"Create{of}JobDefinition": self._create,
            f"Describe{of}JobDefinition": self._describe,
            f"List{of}JobDefinitions": self._list,
            f"Delete{of}JobDefinition": self._delete,
        }

    async def _create(self, request: OperationRequest) -> Members:
        members = request.members
        if (existing := self._store.get(request.region, _KINDS[self._of], members["JobDefinitionName"])) is not None:
            raise ResourceInUse(f"Job Definition {existing.arn} already exists")
        spec_of_definition(members, self._of)  # raises if the emulator cannot run it
        return {"JobDefinitionArn": self._store.create(request.region, _KINDS[self._of], members).arn}

    async def _describe(self, request: OperationRequest) -> Members:
        resource = find_definition(self._store, request.region, request.members["JobDefinitionName"], self._of)
        return resource.request | {"JobDefinitionArn": resource.arn, "CreationTime": resource.created}

    async def _list(self, request: OperationRequest) -> Members:
        wanted = request.members.get("EndpointName")
        known = self._store.of_kind(_KINDS[self._of], request.region)
        matching = [item for item in known if wanted in (None, spec_of_definition(item.request, self._of).endpoint)]
        found, token = list_page(matching, request.members, _DEFAULT_PAGE_SIZE)
        summaries = [
            {
                "MonitoringJobDefinitionName": item.name,
                "MonitoringJobDefinitionArn": item.arn,
                "CreationTime": item.created,
                "EndpointName": spec_of_definition(item.request, self._of).endpoint,
            }
            for item in found
        ]
        return {"JobDefinitionSummaries": summaries, "NextToken": token}

    async def _delete(self, request: OperationRequest) -> Members:
        self._store.remove(find_definition(self._store, request.region, request.members["JobDefinitionName"], self._of))
        return {}


def find_definition(store: ResourceStore, region: str, name: str, of: MonitoringType) -> Resource:
    """Return the definition of this name. Raises ResourceNotFound."""
    resource = store.get(region, _KINDS[of], name)
    if resource is None:
        raise ResourceNotFound(f"Job Definition {name} does not exist; create it, or correct the name.")
    return resource
