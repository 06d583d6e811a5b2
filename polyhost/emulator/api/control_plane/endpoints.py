"""Endpoints: creation, description, listing, deletion and updates, also of weights and instance counts."""

import asyncio
import time
from collections.abc import Mapping

from polyhost.emulator.api.control_plane.deployment_configs import check_alarms, check_deployment, deployment_policy
from polyhost.emulator.api.control_plane.endpoint_configs import config_async_settings, variant_specs
from polyhost.emulator.api.control_plane.endpoint_descriptions import describe
from polyhost.emulator.api.control_plane.endpoint_registry import EndpointRegistry
from polyhost.emulator.api.control_plane.operation import Members, Operation, OperationRequest
from polyhost.emulator.api.control_plane.pagination import list_page
from polyhost.emulator.api.control_plane.serverless_rules import check_quotas, check_update, concurrency_of
from polyhost.emulator.api.control_plane.store import Resource, ResourceKind, ResourceStore
from polyhost.emulator.api.control_plane.variant_changes import variant_changes
from polyhost.emulator.api.control_plane.variant_specs import retain_properties
from polyhost.emulator.async_inference.notifications import NotificationError, Notifier
from polyhost.emulator.autoscaling.checks import check_update_of_scaled
from polyhost.emulator.errors import ValidationException
from polyhost.emulator.hosting.async_settings import AsyncSettings
from polyhost.emulator.hosting.deployment.rollout import Deployment
from polyhost.emulator.hosting.endpoint import Endpoint, EndpointStatus

_DESCRIBE_WAIT_S = 20.0  # how long DescribeEndpoint waits for a change; clients give up after 60 s
_DEFAULT_PAGE_SIZE = 10  # botocore, ListEndpoints


class EndpointOperations:
    """Operations on endpoints; changes go on in the background after the response."""

    def __init__(self, store: ResourceStore, registry: EndpointRegistry, notifier: Notifier) -> None:
        self._store = store
        self._registry = registry
        self._notifier = notifier
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
        self._check_quotas(region, members["EndpointName"], concurrency_of(specs))
        settings = config_async_settings(self._store, region, members["EndpointConfigName"])
        if settings is not None:
            await self._test_topics(settings)
            # Again: another request may have created the endpoint meanwhile.
            self._store.require_absent(region, ResourceKind.ENDPOINT, members["EndpointName"])
        resource = self._store.create(region, ResourceKind.ENDPOINT, members)
        self._registry.create(resource, members["EndpointConfigName"], specs, settings)
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
        config = members.get("DeploymentConfig")
        if members.get("RetainDeploymentConfig"):
            config = self._resource(request).changes.get("DeploymentConfig")
        check_update(endpoint, specs, config or {})
        check_update_of_scaled(endpoint, specs)
        policy = deployment_policy(config)
        check_deployment(policy, specs)
        await asyncio.to_thread(check_alarms, policy, request.region, self._registry.alarm_states)
        endpoint = self._updatable_endpoint(request)  # again: another request may have changed it meanwhile
        self._check_quotas(request.region, endpoint.name, concurrency_of(specs))
        settings = config_async_settings(self._store, request.region, members["EndpointConfigName"])
        if settings is not None:
            await self._test_topics(settings)
            endpoint = self._updatable_endpoint(request)  # again: another request may have changed it meanwhile
        elif empty := next((spec.name for spec in specs if spec.serverless is None and not spec.instance_count), None):
            raise ValidationException(
                f"Variant {empty} has no instances now, which only asynchronous endpoints may have; leave out"
                " RetainAllVariantProperties, or exclude DesiredInstanceCount from it."
            )
        self._resource(request).changes["DeploymentConfig"] = config
        endpoint.update(Deployment(members["EndpointConfigName"], tuple(specs), time.time(), settings, policy))
        return {"EndpointArn": endpoint.arn}

    async def _update_weights_and_capacities(self, request: OperationRequest) -> Members:
        endpoint = self._updatable_endpoint(request)
        if endpoint.status is EndpointStatus.UPDATE_ROLLBACK_FAILED:
            raise ValidationException(
                f'Cannot update endpoint "{endpoint.arn}" in status UpdateRollbackFailed; call UpdateEndpoint, or'
                " delete the endpoint."
            )
        changes = variant_changes(endpoint, request.members["DesiredWeightsAndCapacities"])
        if changes.capacities:
            changed = [changes.capacities.get(variant.name) or variant.capacity for variant in endpoint.variants]
            most = sum(capacity.max_concurrency for capacity in changed if capacity is not None)
            self._check_quotas(request.region, endpoint.name, most)
        if endpoint.async_settings is not None:
            await self._test_topics(endpoint.async_settings)
            endpoint = self._updatable_endpoint(request)
        endpoint.resize(changes)
        return {"EndpointArn": endpoint.arn}

    async def _test_topics(self, settings: AsyncSettings) -> None:
        """Send the test notification that a creation or a change begins with (developer guide)."""
        try:
            await self._notifier.test(settings.topics)
        except NotificationError as error:
            raise ValidationException(f"The test notification failed: {error}.") from None

    def _check_quotas(self, region: str, name: str, concurrency: int) -> None:
        """Raise ResourceLimitExceeded if this concurrency is too much beside the other endpoints of the region."""
        if concurrency:
            others = (item for item in self._registry.all() if item.region == region)
            check_quotas(region, [item for item in others if item.name.lower() != name.lower()], concurrency)

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
