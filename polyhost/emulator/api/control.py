"""The control plane: SageMaker's hosting operations (botocore, sagemaker/2017-07-24)."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from polyhost.emulator.api import specs
from polyhost.emulator.api.pagination import page
from polyhost.emulator.api.service_model import ServiceModel
from polyhost.emulator.api.store import NAMES, Resource, Resources, arn, words_of
from polyhost.emulator.errors import ImageError, ServiceUnavailable, StartError, UnknownOperation, ValidationException
from polyhost.emulator.hosting.endpoint import Endpoint, Variant
from polyhost.emulator.hosting.instance import Platform
from polyhost.emulator.hosting.interfaces import VariantSpec

LOOK_S = 20.0  # how long DescribeEndpoint waits for a change; clients give up after 60 s
ENDPOINTS_PAGE = 10  # botocore, ListEndpoints
_NOT_EMULATED = {"CreateEndpointConfig": ("ShadowProductionVariants", "AsyncInferenceConfig", "ExplainerConfig")}

Members = dict[str, Any]


class Control:
    """Models and endpoint configurations are records; endpoints live."""

    def __init__(self, platform: Platform, state: Path | None) -> None:
        self._platform = platform
        self._service = ServiceModel("sagemaker")
        self._resources = Resources(state)
        self._endpoints: dict[tuple[str, str], Endpoint] = {}
        self._deletions: set[asyncio.Task[None]] = set()
        self._closing = False
        self._operations: dict[str, Callable[[str, Members], Awaitable[Members]]] = {
            "CreateModel": self._create_model,
            "CreateEndpointConfig": self._create_endpoint_config,
            "CreateEndpoint": self._create_endpoint,
            "DescribeModel": self._describe_model,
            "DescribeEndpointConfig": self._describe_endpoint_config,
            "DescribeEndpoint": partial(self._describe_endpoint, patient=False),
            "DeleteModel": partial(self._delete, "model"),
            "DeleteEndpointConfig": partial(self._delete, "endpoint-config"),
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
        """Endpoints that were there before come back: their containers start again. Raises StartError."""
        for resource in self._resources.all(None, "endpoint"):
            if resource.changes.get("Status") == "Deleting":
                self._resources.remove(resource)
                continue
            try:
                self._restore(resource)
            except (KeyError, TypeError, AttributeError) as error:
                raise StartError(
                    f"endpoint {resource.name} in the state cannot be read ({error!r}); mend it, or choose another"
                    " --state"
                ) from error

    async def close(self) -> None:
        """Ends every container; what is remembered stays as it is."""
        self._closing = True
        await asyncio.gather(*(endpoint.stop(drain_s=0) for endpoint in self.endpoints()))
        await asyncio.gather(*self._deletions, return_exceptions=True)

    async def call(self, region: str, operation: str, body: bytes, patient: bool = False) -> bytes:
        """`patient`: a waiter asks, which would rather have a late answer than ask again. Raises AwsError."""
        if self._closing:  # what began now would outlive the emulator
            raise ServiceUnavailable("The emulator is about to end.")
        members = self._service.parse(operation, body)
        method = self._operations.get(operation)
        if method is None:
            raise UnknownOperation(
                f"The emulator does not have the operation {operation}; it has {', '.join(sorted(self._operations))}."
            )
        for name in _NOT_EMULATED.get(operation, ()):
            if members.get(name):
                raise ValidationException(f"The emulator does not have {name}; leave it out of {operation}.")
        if operation == "DescribeEndpoint":
            method = partial(self._describe_endpoint, patient=patient)
        return self._service.encode(operation, await method(region, members))

    def endpoint(self, region: str, name: str) -> Endpoint | None:
        """By its exact name: InvokeEndpoint minds the case (botocore, CreateEndpoint)."""
        endpoint = self._endpoints.get((region, name.lower()))
        return endpoint if endpoint is not None and endpoint.name == name else None

    def endpoints(self) -> list[Endpoint]:
        return list(self._endpoints.values())

    # Models

    async def _create_model(self, region: str, members: Members) -> Members:
        spec = specs.container_spec(members)
        if (members.get("InferenceExecutionConfig") or {}).get("Mode") == "Direct":
            raise ValidationException("The emulator does not have InferenceExecutionConfig of Mode Direct.")
        self._must_be_new(region, "model", members["ModelName"])
        try:
            await self._platform.driver.check(spec.image, spec.multi_model)
        except ImageError as error:
            raise ValidationException(str(error)) from None
        self._must_be_new(region, "model", members["ModelName"])  # the check took its time
        return {"ModelArn": self._put(region, "model", members).arn}

    async def _describe_model(self, region: str, members: Members) -> Members:
        model = self._get(region, "model", members["ModelName"])
        return (
            {"EnableNetworkIsolation": False} | model.request | {"ModelArn": model.arn, "CreationTime": model.created}
        )

    async def _list_models(self, region: str, members: Members) -> Members:
        found, token = page(self._resources.all(region, "model"), members)
        models = [{"ModelName": item.name, "ModelArn": item.arn, "CreationTime": item.created} for item in found]
        return {"Models": models, "NextToken": token}

    # Endpoint configurations

    async def _create_endpoint_config(self, region: str, members: Members) -> Members:
        self._must_be_new(region, "endpoint-config", members["EndpointConfigName"])
        variants = members["ProductionVariants"]
        names = [variant["VariantName"] for variant in variants]
        if len(set(names)) != len(names):
            raise ValidationException(f"Variant names must be unique, but got {', '.join(names)}.")
        self._specs_of(region, variants)
        for variant in variants:
            variant.setdefault("InitialVariantWeight", 1.0)
        return {"EndpointConfigArn": self._put(region, "endpoint-config", members).arn}

    async def _describe_endpoint_config(self, region: str, members: Members) -> Members:
        config = self._get(region, "endpoint-config", members["EndpointConfigName"])
        return config.request | {"EndpointConfigArn": config.arn, "CreationTime": config.created}

    async def _list_endpoint_configs(self, region: str, members: Members) -> Members:
        found, token = page(self._resources.all(region, "endpoint-config"), members)
        configs = [
            {"EndpointConfigName": item.name, "EndpointConfigArn": item.arn, "CreationTime": item.created}
            for item in found
        ]
        return {"EndpointConfigs": configs, "NextToken": token}

    # Endpoints

    async def _create_endpoint(self, region: str, members: Members) -> Members:
        self._must_be_new(region, "endpoint", members["EndpointName"])
        wanted = self._specs(region, members["EndpointConfigName"])
        resource = self._put(region, "endpoint", members)
        # Kept with the endpoint, which outlives the deletion of its configuration and models.
        resource.changes |= {
            "EndpointConfigName": members["EndpointConfigName"],
            "Variants": [specs.to_json(spec) for spec in wanted],
        }
        self._new_endpoint(resource).create(wanted)
        return {"EndpointArn": resource.arn}

    def _new_endpoint(self, resource: Resource) -> Endpoint:
        config = resource.changes["EndpointConfigName"]
        remember = partial(self._remember, resource)
        endpoint = Endpoint(self._platform, resource.region, resource.name, resource.arn, config, remember)
        self._endpoints[resource.region, resource.name.lower()] = endpoint
        return endpoint

    def _restore(self, resource: Resource) -> None:
        status, reason = resource.changes.get("Status"), resource.changes.get("FailureReason")
        wanted = [specs.from_json(saved) for saved in resource.changes["Variants"]]
        endpoint = self._new_endpoint(resource)
        if status == "Failed":
            endpoint.fail(reason or "It had failed before the emulator was started again.")
        else:
            endpoint.create(wanted)

    def _remember(self, resource: Resource, endpoint: Endpoint) -> None:
        if self._closing:
            return
        resource.modified = time.time()
        resource.changes |= {"Status": endpoint.status, "FailureReason": endpoint.failure_reason}
        if endpoint.status == "InService":
            resource.changes["EndpointConfigName"] = endpoint.config_name
            resource.changes["Variants"] = [specs.to_json(variant.current_spec) for variant in endpoint.variants]
        self._resources.save()

    async def _describe_endpoint(self, region: str, members: Members, patient: bool) -> Members:
        endpoint = self._living(region, members["EndpointName"])
        await endpoint.until_changed(LOOK_S, patient)
        resource = self._get(region, "endpoint", members["EndpointName"])
        return {
            "EndpointName": endpoint.name,
            "EndpointArn": endpoint.arn,
            "EndpointConfigName": endpoint.config_name,
            "EndpointStatus": endpoint.status,
            "FailureReason": endpoint.failure_reason,
            "CreationTime": resource.created,
            "LastModifiedTime": resource.modified,
            "ProductionVariants": _summaries(endpoint) or None,
            "PendingDeploymentSummary": _pending(endpoint),
            "LastDeploymentConfig": resource.changes.get("DeploymentConfig"),
        }

    async def _list_endpoints(self, region: str, members: Members) -> Members:
        status = members.get("StatusEquals")
        resources = self._resources.all(region, "endpoint")
        wanted = [item for item in resources if status in (None, self._living(region, item.name).status)]
        found, token = page(wanted, members, ENDPOINTS_PAGE)
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
        task = asyncio.create_task(self._remove(endpoint, self._get(region, "endpoint", endpoint.name)))
        self._deletions.add(task)
        task.add_done_callback(self._deletions.discard)
        await asyncio.sleep(0)  # so that the status is Deleting when this call has been answered
        return {}

    async def _remove(self, endpoint: Endpoint, resource: Resource) -> None:
        await endpoint.delete()
        self._endpoints.pop((resource.region, resource.name.lower()), None)
        self._resources.remove(resource)

    async def _update_endpoint(self, region: str, members: Members) -> Members:
        endpoint = self._updatable(region, members["EndpointName"])
        wanted = self._specs(region, members["EndpointConfigName"])
        if members.get("RetainAllVariantProperties"):
            excluded = [item["VariantPropertyType"] for item in members.get("ExcludeRetainedVariantProperties") or []]
            wanted = specs.retained(wanted, [variant.current_spec for variant in endpoint.variants], excluded)
        if not members.get("RetainDeploymentConfig"):
            resource = self._get(region, "endpoint", endpoint.name)
            resource.changes["DeploymentConfig"] = members.get("DeploymentConfig")
        endpoint.update(members["EndpointConfigName"], wanted)
        return {"EndpointArn": endpoint.arn}

    async def _update_weights(self, region: str, members: Members) -> Members:
        endpoint = self._updatable(region, members["EndpointName"])
        known = [variant.name for variant in endpoint.variants]
        weights: dict[str, float] = {}
        counts: dict[str, int] = {}
        for item in members["DesiredWeightsAndCapacities"]:
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

    # Tags

    async def _add_tags(self, region: str, members: Members) -> Members:
        tags = self._tags(members)
        tags |= _tags_of(members)
        self._resources.save()
        return {"Tags": _told(tags)}

    async def _list_tags(self, region: str, members: Members) -> Members:
        return {"Tags": _told(self._tags(members))}

    async def _delete_tags(self, region: str, members: Members) -> Members:
        tags = self._tags(members)
        for key in members["TagKeys"]:
            tags.pop(key, None)
        self._resources.save()
        return {}

    def _tags(self, members: Members) -> dict[str, str]:
        wanted = members["ResourceArn"]
        resource = self._resources.by_arn(wanted)
        if resource is None:
            kind = wanted.split(":", 5)[5].partition("/")[0]
            raise ValidationException(f'Could not find {words_of(kind)} "{wanted}".')
        return self._resources.tags.setdefault(resource.arn, {})

    # What they share

    def _put(self, region: str, kind: str, members: Members) -> Resource:
        now = time.time()
        resource = Resource(kind, region, members[NAMES[kind]], members, now, now)
        self._resources.tags[resource.arn] = _tags_of(members)
        self._resources.put(resource)
        return resource

    def _get(self, region: str, kind: str, name: str) -> Resource:
        resource = self._resources.get(region, kind, name)
        if resource is None:
            raise ValidationException(f'Could not find {words_of(kind)} "{arn(region, kind, name)}".')
        return resource

    async def _delete(self, kind: str, region: str, members: Members) -> Members:
        self._resources.remove(self._get(region, kind, members[NAMES[kind]]))
        return {}

    def _living(self, region: str, name: str) -> Endpoint:
        self._get(region, "endpoint", name)
        return self._endpoints[region, name.lower()]

    def _updatable(self, region: str, name: str) -> Endpoint:
        endpoint = self._living(region, name)
        _must_be_at_rest(endpoint)
        if endpoint.status == "Failed":
            raise ValidationException(f'Cannot update failed endpoint "{endpoint.arn}"; delete it and create it anew.')
        return endpoint

    def _must_be_new(self, region: str, kind: str, name: str) -> None:
        if self._resources.get(region, kind, name) is not None:
            raise ValidationException(f'Cannot create already existing {words_of(kind)} "{arn(region, kind, name)}".')

    def _specs(self, region: str, config: str) -> list[VariantSpec]:
        return self._specs_of(region, self._get(region, "endpoint-config", config).request["ProductionVariants"])

    def _specs_of(self, region: str, variants: list[Members]) -> list[VariantSpec]:
        return [self._spec(region, variant) for variant in variants]

    def _spec(self, region: str, variant: Members) -> VariantSpec:
        name = variant.get("ModelName")
        if name is None:
            raise ValidationException(
                f"Variant {variant['VariantName']} has no ModelName; the emulator does not have inference components."
            )
        return specs.variant_spec(variant, self._get(region, "model", name).request)


def _summaries(endpoint: Endpoint) -> list[Members]:
    if endpoint.status == "Creating" and endpoint.deployment is not None:
        return [_coming(spec, endpoint.deployment.since) for spec in endpoint.deployment.specs]
    return [_summary(variant) for variant in endpoint.variants]


def _summary(variant: Variant) -> Members:
    image, digest = variant.spec.container.image, variant.digest
    resolved = f"{image.partition('@')[0]}@{digest}" if digest.startswith("sha256:") else image
    return {
        "VariantName": variant.name,
        "DeployedImages": [{"SpecifiedImage": image, "ResolvedImage": resolved, "ResolutionTime": variant.started}],
        "CurrentWeight": variant.weight,
        "DesiredWeight": variant.desired_weight,
        "CurrentInstanceCount": len(variant.fleet.instances),
        "DesiredInstanceCount": variant.desired_count,
    }


def _coming(spec: VariantSpec, since: float) -> Members:
    return {
        "VariantName": spec.name,
        "CurrentWeight": 0.0,
        "DesiredWeight": spec.weight,
        "CurrentInstanceCount": 0,
        "DesiredInstanceCount": spec.instance_count,
        "VariantStatus": [{"Status": "Creating", "StartTime": since}],
    }


def _pending(endpoint: Endpoint) -> Members | None:
    deployment = endpoint.deployment
    if endpoint.status != "Updating" or deployment is None:
        return None
    coming = [_coming(spec, deployment.since) | {"InstanceType": spec.instance_type} for spec in deployment.specs]
    return {
        "EndpointConfigName": deployment.config_name,
        "ProductionVariants": coming,
        "StartTime": deployment.since,
    }


def _must_be_at_rest(endpoint: Endpoint) -> None:
    if endpoint.busy:
        raise ValidationException(f'Cannot update in-progress endpoint "{endpoint.arn}".')


def _tags_of(members: Members) -> dict[str, str]:
    return {tag["Key"]: tag.get("Value") or "" for tag in members.get("Tags") or []}


def _told(tags: dict[str, str]) -> list[Members]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
