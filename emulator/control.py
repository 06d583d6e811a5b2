"""The control plane: SageMaker's hosting operations (botocore, sagemaker/2017-07-24)."""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from emulator.endpoint import Endpoint
from emulator.errors import ImageError, UnknownOperation, ValidationException
from emulator.hosting import ContainerSpec, VariantSpec
from emulator.instance import Platform
from emulator.instance_types import DEFAULT_VOLUME_BYTES, TYPES
from emulator.model_data import ModelData
from emulator.resources import Resource, Resources, arn, words_of
from emulator.service_model import ServiceModel

LOOK_S = 20.0  # how long DescribeEndpoint waits for a change; clients give up after 60 s
_GB = 1024**3
_NOT_EMULATED = {
    "CreateModel": ("InferenceExecutionConfig",),
    "CreateEndpointConfig": ("ShadowProductionVariants", "AsyncInferenceConfig", "ExplainerConfig"),
}
_NAME = {"model": "ModelName", "endpoint-config": "EndpointConfigName", "endpoint": "EndpointName"}

Members = dict[str, Any]


class Control:
    """Models and endpoint configurations are records; endpoints live."""

    def __init__(self, platform: Platform, state: Path | None) -> None:
        self._platform = platform
        self._service = ServiceModel("sagemaker")
        self._resources = Resources(state)
        self._endpoints: dict[tuple[str, str], Endpoint] = {}
        self._deletions: set[asyncio.Task[None]] = set()
        self._operations: dict[str, Callable[[str, Members], Awaitable[Members]]] = {
            "CreateModel": self._create_model,
            "CreateEndpointConfig": self._create_endpoint_config,
            "CreateEndpoint": self._create_endpoint,
            "DescribeModel": self._describe_model,
            "DescribeEndpointConfig": self._describe_endpoint_config,
            "DescribeEndpoint": self._describe_endpoint,
            "DeleteModel": self._delete_model,
            "DeleteEndpointConfig": self._delete_endpoint_config,
            "DeleteEndpoint": self._delete_endpoint,
            "ListModels": self._list_models,
            "ListEndpointConfigs": self._list_endpoint_configs,
            "ListEndpoints": self._list_endpoints,
            "UpdateEndpoint": self._update_endpoint,
            "UpdateEndpointWeightsAndCapacities": self._update_weights,
            "AddTags": self._add_tags,
            "ListTags": self._list_tags,
            "DeleteTags": self._delete_tags,
        }

    # For the emulator

    async def open(self) -> None:
        """Endpoints that were there before come back: their containers start again."""
        for resource in self._resources.all(None, "endpoint"):
            self._begin_endpoint(resource)

    async def close(self) -> None:
        """Ends every container."""
        for task in self._deletions:
            task.cancel()
        await asyncio.gather(*(endpoint.stop(drain_s=0) for endpoint in self._endpoints.values()))
        await asyncio.gather(*self._deletions, return_exceptions=True)

    async def call(self, region: str, operation: str, body: bytes) -> bytes:
        """Raises AwsError."""
        members = self._service.parse(operation, body)
        method = self._operations.get(operation)
        if method is None:
            raise UnknownOperation(
                f"The emulator does not have the operation {operation}; it has {', '.join(sorted(self._operations))}."
            )
        for name in _NOT_EMULATED.get(operation, ()):
            if members.get(name):
                raise ValidationException(f"The emulator does not have {name}; leave it out of {operation}.")
        return self._service.encode(await method(region, members))

    def endpoint(self, region: str, name: str) -> Endpoint | None:
        """By its exact name: InvokeEndpoint minds the case (botocore, CreateEndpoint)."""
        endpoint = self._endpoints.get((region, name.lower()))
        return endpoint if endpoint is not None and endpoint.name == name else None

    def endpoints(self) -> list[Endpoint]:
        return list(self._endpoints.values())

    # Models

    async def _create_model(self, region: str, members: Members) -> Members:
        self._must_be_new(region, "model", members["ModelName"])
        container = _container_of(members)
        spec = _container_spec(container)
        try:
            await self._platform.driver.check(spec.image, spec.multi_model)
        except ImageError as error:
            raise ValidationException(str(error)) from None
        return {"ModelArn": self._put(region, "model", members).arn}

    async def _describe_model(self, region: str, members: Members) -> Members:
        model = self._get(region, "model", members["ModelName"])
        request = {name: value for name, value in model.request.items() if name != "Tags"}
        request.setdefault("EnableNetworkIsolation", False)
        return request | {"ModelArn": model.arn, "CreationTime": model.created}

    async def _delete_model(self, region: str, members: Members) -> Members:
        self._resources.remove(self._get(region, "model", members["ModelName"]))
        return {}

    async def _list_models(self, region: str, members: Members) -> Members:
        found, token = _page(self._resources.all(region, "model"), members)
        models = [{"ModelName": item.name, "ModelArn": item.arn, "CreationTime": item.created} for item in found]
        return {"Models": models, "NextToken": token}

    # Endpoint configurations

    async def _create_endpoint_config(self, region: str, members: Members) -> Members:
        self._must_be_new(region, "endpoint-config", members["EndpointConfigName"])
        variants = members["ProductionVariants"]
        names = [variant["VariantName"] for variant in variants]
        if len(set(names)) != len(names):
            raise ValidationException(f"Variant names must be unique, but got {', '.join(names)}.")
        for variant in variants:
            self._variant_spec(region, variant)
            variant.setdefault("InitialVariantWeight", 1.0)
        return {"EndpointConfigArn": self._put(region, "endpoint-config", members).arn}

    async def _describe_endpoint_config(self, region: str, members: Members) -> Members:
        config = self._get(region, "endpoint-config", members["EndpointConfigName"])
        request = {name: value for name, value in config.request.items() if name != "Tags"}
        return request | {"EndpointConfigArn": config.arn, "CreationTime": config.created}

    async def _delete_endpoint_config(self, region: str, members: Members) -> Members:
        self._resources.remove(self._get(region, "endpoint-config", members["EndpointConfigName"]))
        return {}

    async def _list_endpoint_configs(self, region: str, members: Members) -> Members:
        found, token = _page(self._resources.all(region, "endpoint-config"), members)
        configs = [
            {"EndpointConfigName": item.name, "EndpointConfigArn": item.arn, "CreationTime": item.created}
            for item in found
        ]
        return {"EndpointConfigs": configs, "NextToken": token}

    # Endpoints

    async def _create_endpoint(self, region: str, members: Members) -> Members:
        self._must_be_new(region, "endpoint", members["EndpointName"])
        self._get(region, "endpoint-config", members["EndpointConfigName"])
        self._specs(region, members["EndpointConfigName"])
        resource = self._put(region, "endpoint", members)
        # Kept with the endpoint, which outlives its configuration's deletion.
        resource.changes["EndpointConfigName"] = members["EndpointConfigName"]
        self._begin_endpoint(resource)
        return {"EndpointArn": resource.arn}

    def _begin_endpoint(self, resource: Resource) -> None:
        config = resource.changes.get("EndpointConfigName", resource.request["EndpointConfigName"])
        endpoint = Endpoint(self._platform, resource.region, resource.name, resource.arn, config)
        self._endpoints[resource.region, resource.name.lower()] = endpoint
        try:
            specs = self._specs(resource.region, config)
        except ValidationException as error:  # after a restart, when its configuration or model has been deleted
            endpoint.status, endpoint.failure_reason = "Failed", str(error)
            return
        endpoint.create(specs)

    async def _describe_endpoint(self, region: str, members: Members) -> Members:
        endpoint = self._living(region, members["EndpointName"])
        await endpoint.until_changed(LOOK_S)
        resource = self._get(region, "endpoint", members["EndpointName"])
        return {
            "EndpointName": endpoint.name,
            "EndpointArn": endpoint.arn,
            "EndpointConfigName": endpoint.config_name,
            "EndpointStatus": endpoint.status,
            "FailureReason": endpoint.failure_reason,
            "CreationTime": resource.created,
            "LastModifiedTime": resource.modified,
            "ProductionVariants": [_about(variant) for variant in endpoint.variants] or None,
        }

    async def _list_endpoints(self, region: str, members: Members) -> Members:
        resources = self._resources.all(region, "endpoint")
        status = members.get("StatusEquals")
        wanted = [item for item in resources if status in (None, self._living(region, item.name).status)]
        found, token = _page(wanted, members)
        endpoints = [
            {
                "EndpointName": item.name,
                "EndpointArn": item.arn,
                "CreationTime": item.created,
                "LastModifiedTime": item.modified,
                "EndpointStatus": self._living(region, item.name).status,
            }
            for item in found
        ]
        return {"Endpoints": endpoints, "NextToken": token}

    async def _delete_endpoint(self, region: str, members: Members) -> Members:
        endpoint = self._living(region, members["EndpointName"])
        _must_be_at_rest(endpoint)
        resource = self._get(region, "endpoint", endpoint.name)
        task = asyncio.create_task(self._remove(endpoint, resource))
        self._deletions.add(task)
        task.add_done_callback(self._deletions.discard)
        await asyncio.sleep(0)  # so that the status is Deleting when this call has been answered
        return {}

    async def _remove(self, endpoint: Endpoint, resource: Resource) -> None:
        await endpoint.delete()
        self._endpoints.pop((resource.region, resource.name.lower()), None)
        self._resources.remove(resource)

    async def _update_endpoint(self, region: str, members: Members) -> Members:
        endpoint = self._living(region, members["EndpointName"])
        _must_be_at_rest(endpoint)
        if endpoint.status == "Failed":
            raise ValidationException(f'Cannot update failed endpoint "{endpoint.arn}"; delete it and create it anew.')
        name = members["EndpointConfigName"]
        specs = self._specs(region, name)
        if members.get("RetainAllVariantProperties"):
            excluded = [item["VariantPropertyType"] for item in members.get("ExcludeRetainedVariantProperties", [])]
            specs = [_retained(spec, endpoint, excluded) for spec in specs]
        self._modify(region, endpoint.name, EndpointConfigName=name)
        endpoint.update(name, specs)
        return {"EndpointArn": endpoint.arn}

    async def _update_weights(self, region: str, members: Members) -> Members:
        endpoint = self._living(region, members["EndpointName"])
        _must_be_at_rest(endpoint)
        known = [variant.name for variant in endpoint.variants]
        weights: dict[str, float] = {}
        counts: dict[str, int] = {}
        for item in members["DesiredWeightsAndCapacities"]:
            name = item["VariantName"]
            if name not in known:
                raise ValidationException(f"Variant {name} not found for endpoint {endpoint.name}; it has {known}.")
            if item.get("DesiredWeight") is not None:
                weights[name] = item["DesiredWeight"]
            if item.get("DesiredInstanceCount") is not None:
                counts[name] = item["DesiredInstanceCount"]
        self._modify(region, endpoint.name)
        endpoint.resize(weights, counts)
        return {"EndpointArn": endpoint.arn}

    # Tags

    async def _add_tags(self, region: str, members: Members) -> Members:
        tags = self._resources.tags.setdefault(members["ResourceArn"], {})
        tags |= _tags_of(members)
        self._resources.save()
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    async def _list_tags(self, region: str, members: Members) -> Members:
        tags = self._resources.tags.get(members["ResourceArn"], {})
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    async def _delete_tags(self, region: str, members: Members) -> Members:
        for key in members["TagKeys"]:
            self._resources.tags.get(members["ResourceArn"], {}).pop(key, None)
        self._resources.save()
        return {}

    # What they share

    def _put(self, region: str, kind: str, members: Members) -> Resource:
        now = time.time()
        resource = Resource(kind, region, members[_NAME[kind]], members, now, now)
        self._resources.tags[resource.arn] = _tags_of(members)
        self._resources.put(resource)
        return resource

    def _get(self, region: str, kind: str, name: str) -> Resource:
        resource = self._resources.get(region, kind, name)
        if resource is None:
            raise ValidationException(f'Could not find {words_of(kind)} "{arn(region, kind, name)}".')
        return resource

    def _living(self, region: str, name: str) -> Endpoint:
        self._get(region, "endpoint", name)
        return self._endpoints[region, name.lower()]

    def _modify(self, region: str, name: str, **changes: str) -> None:
        resource = self._get(region, "endpoint", name)
        resource.changes |= changes
        resource.modified = time.time()
        self._resources.save()

    def _must_be_new(self, region: str, kind: str, name: str) -> None:
        if self._resources.get(region, kind, name) is not None:
            raise ValidationException(f'Cannot create already existing {words_of(kind)} "{arn(region, kind, name)}".')

    def _specs(self, region: str, config: str) -> list[VariantSpec]:
        variants = self._get(region, "endpoint-config", config).request["ProductionVariants"]
        return [self._variant_spec(region, variant) for variant in variants]

    def _variant_spec(self, region: str, variant: Members) -> VariantSpec:
        name = variant["VariantName"]
        for needed in ("ModelName", "InstanceType", "InitialInstanceCount"):
            if variant.get(needed) is None:
                raise ValidationException(f"Variant {name} has no {needed}; the emulator hosts instances only.")
        if variant["InstanceType"] not in TYPES:
            raise ValidationException(
                f"The emulator does not know the memory of instance type {variant['InstanceType']}; it knows"
                f" {', '.join(TYPES)}."
            )
        model = self._get(region, "model", variant["ModelName"])
        return VariantSpec(
            name=name,
            container=_container_spec(_container_of(model.request)),
            instance_type=variant["InstanceType"],
            instance_count=variant["InitialInstanceCount"],
            weight=variant.get("InitialVariantWeight", 1.0),
            volume_bytes=variant["VolumeSizeInGB"] * _GB if "VolumeSizeInGB" in variant else DEFAULT_VOLUME_BYTES,
            startup_timeout_s=variant.get("ContainerStartupHealthCheckTimeoutInSeconds", 480),
            download_timeout_s=variant.get("ModelDataDownloadTimeoutInSeconds", 3600),
        )


def _container_of(members: Members) -> Members:
    containers = [*members.get("Containers", []), *filter(None, [members.get("PrimaryContainer")])]
    if len(containers) != 1:
        raise ValidationException(
            "The emulator hosts models of one container, given as PrimaryContainer or in Containers;"
            f" got {len(containers)}."
        )
    container: Members = containers[0]
    if not container.get("Image"):
        raise ValidationException("The container has no Image; the emulator does not have model packages.")
    if container.get("ModelDataSource"):
        raise ValidationException("The emulator does not have ModelDataSource; use ModelDataUrl.")
    return container


def _container_spec(container: Members) -> ContainerSpec:
    multi_model = container.get("Mode") == "MultiModel"
    url = container.get("ModelDataUrl")
    if multi_model and not url:
        raise ValidationException("A container of Mode MultiModel needs ModelDataUrl, the prefix of its models.")
    try:
        data = str(ModelData.parse(url)) if url else None
    except ValueError as error:
        raise ValidationException(str(error)) from None
    caching = container.get("MultiModelConfig", {}).get("ModelCacheSetting", "Enabled")
    return ContainerSpec(container["Image"], data, multi_model, container.get("Environment", {}), caching == "Enabled")


def _retained(spec: VariantSpec, endpoint: Endpoint, excluded: list[str]) -> VariantSpec:
    for variant in endpoint.variants:
        if variant.name == spec.name:
            count = spec.instance_count if "DesiredInstanceCount" in excluded else variant.desired_count
            weight = spec.weight if "DesiredWeight" in excluded else variant.desired_weight
            return replace(spec, instance_count=count, weight=weight)
    return spec


def _about(variant: Any) -> Members:
    image = variant.spec.container.image
    return {
        "VariantName": variant.name,
        "DeployedImages": [{"SpecifiedImage": image, "ResolvedImage": image}],
        "CurrentWeight": variant.weight,
        "DesiredWeight": variant.desired_weight,
        "CurrentInstanceCount": len(variant.fleet.instances),
        "DesiredInstanceCount": variant.desired_count,
    }


def _must_be_at_rest(endpoint: Endpoint) -> None:
    if endpoint.busy:
        raise ValidationException(f'Cannot update in-progress endpoint "{endpoint.arn}".')


def _tags_of(members: Members) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in members.get("Tags") or []}


def _page(found: list[Resource], members: Members) -> tuple[list[Resource], str | None]:
    """Filtered, sorted and cut as the request says; with the token of the next page where there is one."""
    wanted = members.get("NameContains", "").lower()
    kept = [item for item in found if wanted in item.name.lower() and _within(item, members)]
    by_name = members.get("SortBy", "CreationTime") == "Name"
    descending = members.get("SortOrder", "Descending") == "Descending"
    kept.sort(key=lambda item: item.name if by_name else item.created, reverse=descending)
    start = _position(members.get("NextToken"))
    end = start + members.get("MaxResults", 100)
    return kept[start:end], base64.b64encode(str(end).encode()).decode() if end < len(kept) else None


def _within(item: Resource, members: Members) -> bool:
    created, modified = item.created, item.modified
    return members.get("CreationTimeAfter", created) <= created <= members.get(
        "CreationTimeBefore", created
    ) and members.get("LastModifiedTimeAfter", modified) <= modified <= members.get("LastModifiedTimeBefore", modified)


def _position(token: str | None) -> int:
    try:
        return int(base64.b64decode(token)) if token else 0
    except ValueError:
        raise ValidationException("Invalid NextToken.") from None
