"""Endpoints: creation, description, listing, deletion and updates, also of weights and instance counts."""

from collections.abc import Mapping

from polyhost.emulator.api.control_plane.endpoint_configs import variant_specs
from polyhost.emulator.api.control_plane.endpoint_descriptions import describe
from polyhost.emulator.api.control_plane.endpoint_registry import EndpointRegistry
from polyhost.emulator.api.control_plane.operation import Members, Operation, OperationRequest
from polyhost.emulator.api.control_plane.pagination import list_page
from polyhost.emulator.api.control_plane.store import Resource, ResourceKind, ResourceStore
from polyhost.emulator.api.control_plane.variant_specs import retain_properties
from polyhost.emulator.errors import ValidationException
from polyhost.emulator.hosting.endpoint import Endpoint, EndpointStatus

_DESCRIBE_WAIT_S = 20.0  # how long DescribeEndpoint waits for a change; clients give up after 60 s
_DEFAULT_PAGE_SIZE = 10  # botocore, ListEndpoints


class EndpointOperations:
    """Operations on endpoints; changes go on in the background after the response."""

    def __init__(self, store: ResourceStore, registry: EndpointRegistry) -> None:
        self._store = store
        self._registry = registry
        self.operations: Mapping[str, Operation] = {
            "CreateEndpoint": self._create,
            "DescribeEndpoint": self._describe,
            "ListEndpoints": self._list,
            "DeleteEndpoint": self._delete,
            "UpdateEndpoint": self._update,
            "UpdateEndpointWeightsAndCapacities": self._update_weights_and_capacities,
        }

    async def _create(self, request: OperationRequest) -> Members:
        region, members = request.region, request.members
        self._store.require_absent(region, ResourceKind.ENDPOINT, members["EndpointName"])
        specs = variant_specs(self._store, region, members["EndpointConfigName"])
        resource = self._store.create(region, ResourceKind.ENDPOINT, members)
        self._registry.create(resource, members["EndpointConfigName"], specs)
        return {"EndpointArn": resource.arn}

    async def _describe(self, request: OperationRequest) -> Members:
        endpoint = self._registry.get(request.region, request.members["EndpointName"])
        await endpoint.until_changed(_DESCRIBE_WAIT_S, request.from_waiter)
        return describe(endpoint, self._resource(request))  # raises if the change was the endpoint's deletion

    async def _list(self, request: OperationRequest) -> Members:
        wanted = request.members.get("StatusEquals")
        resources = self._store.of_kind(ResourceKind.ENDPOINT, request.region)
        matching = [item for item in resources if wanted in (None, self._endpoint_of(item).status)]
        found, token = list_page(matching, request.members, _DEFAULT_PAGE_SIZE)
        endpoints = [
            {
                "EndpointName": item.name,
                "EndpointArn": item.arn,
                "CreationTime": item.created,
                "LastModifiedTime": item.modified,
                "EndpointStatus": self._endpoint_of(item).status,
            }
            for item in found
        ]
        return {"Endpoints": endpoints, "NextToken": token}

    async def _delete(self, request: OperationRequest) -> Members:
        _require_settled(self._registry.get(request.region, request.members["EndpointName"]))
        await self._registry.delete(self._resource(request))
        return {}

    async def _update(self, request: OperationRequest) -> Members:
        members = request.members
        endpoint = self._updatable_endpoint(request)
        specs = variant_specs(self._store, request.region, members["EndpointConfigName"])
        if members.get("RetainAllVariantProperties"):
            excluded = [item["VariantPropertyType"] for item in members.get("ExcludeRetainedVariantProperties") or []]
            specs = retain_properties(specs, [variant.current_spec for variant in endpoint.variants], excluded)
        if not members.get("RetainDeploymentConfig"):
            self._resource(request).changes["DeploymentConfig"] = members.get("DeploymentConfig")
        endpoint.update(members["EndpointConfigName"], specs)
        return {"EndpointArn": endpoint.arn}

    async def _update_weights_and_capacities(self, request: OperationRequest) -> Members:
        endpoint = self._updatable_endpoint(request)
        known = [variant.name for variant in endpoint.variants]
        weights: dict[str, float] = {}
        counts: dict[str, int] = {}
        for item in request.members["DesiredWeightsAndCapacities"]:
            name, weight, count = item["VariantName"], item.get("DesiredWeight"), item.get("DesiredInstanceCount")
            if name not in known:
                raise ValidationException(
                    f'The variant name(s) "{name}" is/are not present within endpoint configuration'
                    f' "{endpoint.config_name}". It has {", ".join(known)}.'
                )
            if count == 0:
                raise ValidationException(f"DesiredInstanceCount of variant {name} must be at least 1.")
            weights |= {name: weight} if weight is not None else {}
            counts |= {name: count} if count is not None else {}
        endpoint.resize(weights, counts)
        return {"EndpointArn": endpoint.arn}

    def _resource(self, request: OperationRequest) -> Resource:
        return self._store.require(request.region, ResourceKind.ENDPOINT, request.members["EndpointName"])

    def _endpoint_of(self, resource: Resource) -> Endpoint:
        return self._registry.get(resource.region, resource.name)

    def _updatable_endpoint(self, request: OperationRequest) -> Endpoint:
        endpoint = self._registry.get(request.region, request.members["EndpointName"])
        _require_settled(endpoint)
        if endpoint.status is EndpointStatus.FAILED:
            raise ValidationException(f'Cannot update failed endpoint "{endpoint.arn}"; delete it and create it anew.')
        return endpoint


def _require_settled(endpoint: Endpoint) -> None:
    """Raise ValidationException, with AWS's words, while a change of the endpoint is in progress."""
    if endpoint.busy:
        raise ValidationException(f'Cannot update in-progress endpoint "{endpoint.arn}".')
