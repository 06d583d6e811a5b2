"""Endpoint configurations: CreateEndpointConfig, DescribeEndpointConfig, ListEndpointConfigs, DeleteEndpointConfig."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from polyhost.emulator.api.control_plane.async_configs import async_settings, check_async
from polyhost.emulator.api.control_plane.capture_configs import capture_settings
from polyhost.emulator.api.control_plane.operation import Members, Operation, OperationRequest
from polyhost.emulator.api.control_plane.pagination import list_page
from polyhost.emulator.api.control_plane.serverless_rules import check_config
from polyhost.emulator.api.control_plane.store import ResourceKind, ResourceStore
from polyhost.emulator.api.control_plane.variant_specs import variant_spec
from polyhost.emulator.errors import ValidationException
from polyhost.emulator.hosting.async_settings import AsyncSettings
from polyhost.emulator.hosting.interfaces import VariantSpec

_UNSUPPORTED = ("ExplainerConfig",)


class EndpointConfigOperations:
    """Operations on endpoint configurations, which are records only."""

    def __init__(self, store: ResourceStore) -> None:
        self._store = store
        self.operations: Mapping[str, Operation] = {
            "CreateEndpointConfig": self._create,
            "DescribeEndpointConfig": self._describe,
            "ListEndpointConfigs": self._list,
            "DeleteEndpointConfig": self._delete,
        }

    async def _create(self, request: OperationRequest) -> Members:
        region, members = request.region, request.members
        for name in _UNSUPPORTED:
            if members.get(name):
                raise ValidationException(
                    f"The emulator does not support {name}; leave it out of CreateEndpointConfig."
                )
        self._store.require_absent(region, ResourceKind.ENDPOINT_CONFIG, members["EndpointConfigName"])
        production, shadows = members["ProductionVariants"], members.get("ShadowProductionVariants") or []
        variants = [*production, *shadows]
        names = [variant["VariantName"] for variant in variants]
        if len(set(names)) != len(names):
            raise ValidationException(f"Variant names must be unique, but got {', '.join(names)}.")
        specs = _variant_specs(self._store, region, members)  # raises if the emulator cannot host one
        check_config(members, specs)
        if shadows:
            _check_shadows(len(production), specs)
        if async_settings(members) is not None:
            check_async(members, specs)
        for variant in variants:
            variant.setdefault("InitialVariantWeight", 1.0)
        return {"EndpointConfigArn": self._store.create(region, ResourceKind.ENDPOINT_CONFIG, members).arn}

    async def _describe(self, request: OperationRequest) -> Members:
        name = request.members["EndpointConfigName"]
        config = self._store.require(request.region, ResourceKind.ENDPOINT_CONFIG, name)
        return config.request | {"EndpointConfigArn": config.arn, "CreationTime": config.created}

    async def _list(self, request: OperationRequest) -> Members:
        found, token = list_page(self._store.of_kind(ResourceKind.ENDPOINT_CONFIG, request.region), request.members)
        configs = [
            {"EndpointConfigName": item.name, "EndpointConfigArn": item.arn, "CreationTime": item.created}
            for item in found
        ]
        return {"EndpointConfigs": configs, "NextToken": token}

    async def _delete(self, request: OperationRequest) -> Members:
        name = request.members["EndpointConfigName"]
        self._store.remove(self._store.require(request.region, ResourceKind.ENDPOINT_CONFIG, name))
        return {}


def variant_specs(store: ResourceStore, region: str, config_name: str) -> list[VariantSpec]:
    """Return the specs of a configuration's variants. Raises ValidationException if it or a model does not exist."""
    config = store.require(region, ResourceKind.ENDPOINT_CONFIG, config_name)
    return _variant_specs(store, region, config.request)


def config_async_settings(store: ResourceStore, region: str, config_name: str) -> AsyncSettings | None:
    """Return a configuration's settings of asynchronous inference, if it has any."""
    return async_settings(store.require(region, ResourceKind.ENDPOINT_CONFIG, config_name).request)


def _variant_specs(store: ResourceStore, region: str, config: Members) -> list[VariantSpec]:
    shadows = config.get("ShadowProductionVariants") or []
    capture = capture_settings(config)
    specs = [
        *(_variant_spec(store, region, variant) for variant in config["ProductionVariants"]),
        *(replace(_variant_spec(store, region, variant), shadow=True) for variant in shadows),
    ]
    return [replace(spec, capture=capture) for spec in specs]


def _check_shadows(production_count: int, specs: Sequence[VariantSpec]) -> None:
    """Raise ValidationException for what AWS does not allow beside a shadow variant."""
    if production_count != 1 or len(specs) != 2:
        raise ValidationException(
            "If you use ShadowProductionVariants, you can only specify one variant for ProductionVariants and one"
            f" variant for ShadowProductionVariants, but got {production_count} and {len(specs) - production_count}."
        )
    for spec in specs:
        if any(container.multi_model for container in spec.containers):
            raise ValidationException(
                f"ShadowProductionVariants is not supported for multi-model endpoints, and variant {spec.name} has a"
                " MultiModel container."
            )


def _variant_spec(store: ResourceStore, region: str, variant: Members) -> VariantSpec:
    model_name = variant.get("ModelName")
    if model_name is None:
        raise ValidationException(
            f"Variant {variant['VariantName']} has no ModelName; the emulator does not support inference components."
        )
    return variant_spec(variant, store.require(region, ResourceKind.MODEL, model_name).request)
