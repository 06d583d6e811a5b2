"""The running endpoints, and the record of each, from which the next emulator with the same state restores it."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from polyhost.emulator.api.control_plane import variant_specs
from polyhost.emulator.api.control_plane.deployment_configs import deployment_policy
from polyhost.emulator.api.control_plane.store import Resource, ResourceKind, ResourceStore
from polyhost.emulator.errors import StartError
from polyhost.emulator.hosting.async_settings import AsyncSettings
from polyhost.emulator.hosting.deployment.policy import DeploymentPolicy
from polyhost.emulator.hosting.deployment.rollout import Deployment
from polyhost.emulator.hosting.endpoint import Endpoint, EndpointStatus
from polyhost.emulator.hosting.interfaces import Platform, VariantSpec


class EndpointRegistry:
    """Starts, restores and deletes endpoints.

    Invariant: a name has a running endpoint exactly while it has a record of kind endpoint, apart from the records that
    `restore` has yet to come to.
    """

    def __init__(self, platform: Platform, store: ResourceStore) -> None:
        self._platform = platform
        self._store = store
        self._endpoints: dict[tuple[str, str], Endpoint] = {}  # by region and name in lower case
        self._deletions: set[asyncio.Task[None]] = set()
        self._closing = False
        self.alarm_states = platform.alarm_states

    def all(self) -> list[Endpoint]:
        """Return the endpoints of all regions, whatever their status."""
        return list(self._endpoints.values())

    def get(self, region: str, name: str) -> Endpoint:
        """Return the endpoint of this name, in any case. Raises ValidationException if there is none."""
        self._store.require(region, ResourceKind.ENDPOINT, name)
        return self._endpoints[region, name.lower()]

    def find_exact(self, region: str, name: str) -> Endpoint | None:
        """Return the endpoint of exactly this name: InvokeEndpoint minds the case (botocore, CreateEndpoint)."""
        endpoint = self._endpoints.get((region, name.lower()))
        return endpoint if endpoint is not None and endpoint.name == name else None

    def restore(self) -> None:
        """Start the containers of all endpoints that the store has from before. Raises StartError."""
        for resource in self._store.of_kind(ResourceKind.ENDPOINT):
            if resource.changes.get("Status") == EndpointStatus.DELETING:
                self._store.remove(resource)
                continue
            try:
                self._restore(resource)
            except (KeyError, TypeError, AttributeError) as error:
                raise StartError(
                    f"cannot restore endpoint {resource.name} from the saved state ({error!r}); fix the file, or choose"
                    " another --state"
                ) from error

    async def close(self) -> None:
        """End every container, at once; the store keeps the endpoints as they are."""
        self._closing = True
        await asyncio.gather(*(endpoint.stop(drain_s=0) for endpoint in self.all()))
        await asyncio.gather(*self._deletions, return_exceptions=True)

    def create(
        self,
        resource: Resource,
        config_name: str,
        specs: Sequence[VariantSpec],
        async_settings: AsyncSettings | None = None,
    ) -> Endpoint:
        """Start an endpoint for a new record."""
        # The specs are part of the record: an endpoint outlives the deletion of its configuration and models.
        resource.changes |= _to_json(config_name, specs, async_settings)
        endpoint = self._add(resource)
        endpoint.create(specs, async_settings)
        return endpoint

    async def delete(self, resource: Resource) -> None:
        """Begin to delete an endpoint, in the background; its status is Deleting when this returns."""
        endpoint = self._endpoints[resource.region, resource.name.lower()]
        task = asyncio.create_task(self._delete(endpoint, resource))
        self._deletions.add(task)
        task.add_done_callback(self._deletions.discard)
        await asyncio.sleep(0)  # lets the task set the status

    async def _delete(self, endpoint: Endpoint, resource: Resource) -> None:
        await endpoint.delete()
        # Two requests at the same moment can both delete the endpoint: the second finds it removed.
        self._endpoints.pop((resource.region, resource.name.lower()), None)
        self._store.remove(resource)

    def _restore(self, resource: Resource) -> None:
        status, reason = resource.changes.get("Status"), resource.changes.get("FailureReason")
        saved, update = _from_json(resource.changes), resource.changes.get("Update")
        endpoint = self._add(resource)
        if status == EndpointStatus.FAILED:
            endpoint.async_settings = saved.async_settings
            endpoint.fail(reason or "It had failed before the emulator was restarted.")
        else:
            endpoint.create(saved.specs, saved.async_settings, _from_json(update) if update is not None else None)

    def _add(self, resource: Resource) -> Endpoint:
        config_name = resource.changes["EndpointConfigName"]
        on_change = partial(self._on_change, resource)
        endpoint = Endpoint(self._platform, resource.region, resource.name, resource.arn, config_name, on_change)
        self._endpoints[resource.region, resource.name.lower()] = endpoint
        return endpoint

    def _on_change(self, resource: Resource, endpoint: Endpoint) -> None:
        if self._closing:
            return
        resource.modified = time.time()
        resource.changes |= {"Status": endpoint.status, "FailureReason": endpoint.failure_reason}
        if endpoint.status is EndpointStatus.IN_SERVICE:
            specs = [variant.current_spec for variant in endpoint.variants]
            resource.changes |= _to_json(endpoint.config_name, specs, endpoint.async_settings)
        update = endpoint.unfinished_update
        if update is None:
            resource.changes["Update"] = None
        else:
            saved = _to_json(update.config_name, update.specs, update.async_settings)
            # A change of counts is not deployed in steps; the configuration is that of the update before.
            config = resource.changes.get("DeploymentConfig") if update.policy != DeploymentPolicy() else None
            resource.changes["Update"] = saved | {"DeploymentConfig": config}
        self._store.save()


def _to_json(config_name: str, specs: Sequence[VariantSpec], settings: AsyncSettings | None) -> dict[str, Any]:
    return {
        "EndpointConfigName": config_name,
        "Variants": [variant_specs.to_json(spec) for spec in specs],
        "AsyncInference": asdict(settings) if settings is not None else None,
    }


def _from_json(saved: dict[str, Any]) -> Deployment:
    specs = tuple(variant_specs.from_json(item) for item in saved["Variants"])
    settings = saved.get("AsyncInference")
    return Deployment(
        saved["EndpointConfigName"],
        specs,
        time.time(),
        AsyncSettings.from_json(settings) if settings is not None else None,
        deployment_policy(saved.get("DeploymentConfig")),
    )
