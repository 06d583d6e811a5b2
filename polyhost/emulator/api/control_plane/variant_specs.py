"""Specs for hosting, made of the requests that created models and endpoint configurations."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from polyhost.emulator.api.control_plane.container_specs import container_specs, execution
from polyhost.emulator.api.control_plane.operation import Members
from polyhost.emulator.api.control_plane.serverless_rules import (
    SERVERLESS_STARTUP_TIMEOUT_S,
    SERVERLESS_VOLUME_BYTES,
    check_model,
    serverless_capacity,
)
from polyhost.emulator.errors import ValidationException
from polyhost.emulator.hosting.capture_settings import CaptureSettings
from polyhost.emulator.hosting.interfaces import ContainerSpec, Execution, ServerlessCapacity, VariantSpec
from polyhost.instance_types import DEFAULT_VOLUME_BYTES, TYPES

_GB = 1024**3
STARTUP_TIMEOUT_S = 480.0  # SageMaker developer guide, "Custom Inference Code with Hosting Services"
_DOWNLOAD_TIMEOUT_S = 3600.0
# What would choose other instances than InstanceType and InitialInstanceCount say.
_UNSUPPORTED = ("ManagedInstanceScaling", "InstancePools")


def variant_spec(variant: Members, model: Members) -> VariantSpec:
    """Translate a variant of a CreateEndpointConfig request, and the CreateModel request of its model.

    Raises ValidationException for anything that the emulator cannot host.
    """
    for member in _UNSUPPORTED:
        if variant.get(member):
            raise ValidationException(
                f"Variant {variant['VariantName']} has {member}, which the emulator does not support; leave it out. To"
                " scale a variant, register it with Application Auto Scaling."
            )
    if (capacity := serverless_capacity(variant)) is not None:
        return _serverless_spec(variant, model, capacity)
    for needed in ("InstanceType", "InitialInstanceCount"):
        if variant.get(needed) is None:
            raise ValidationException(
                f"Variant {variant['VariantName']} has no {needed}; a variant needs InstanceType and"
                " InitialInstanceCount, or ServerlessConfig."
            )
    check_instance_type(f"Variant {variant['VariantName']}", variant["InstanceType"])
    volume = variant.get("VolumeSizeInGB")
    return VariantSpec(
        name=variant["VariantName"],
        containers=container_specs(model),
        execution=execution(model),
        instance_type=variant["InstanceType"],
        instance_count=variant["InitialInstanceCount"],
        weight=_weight(variant),
        volume_bytes=volume * _GB if volume else DEFAULT_VOLUME_BYTES,
        startup_timeout_s=variant.get("ContainerStartupHealthCheckTimeoutInSeconds") or STARTUP_TIMEOUT_S,
        download_timeout_s=variant.get("ModelDataDownloadTimeoutInSeconds") or _DOWNLOAD_TIMEOUT_S,
    )


def check_instance_type(what: str, instance_type: str) -> None:
    """Raise ValidationException if the memory of an instance type is not known."""
    if instance_type not in TYPES:
        families = sorted({known.split(".")[1] for known in TYPES})
        raise ValidationException(
            f"{what}: the emulator does not know the memory of {instance_type};"
            f" it knows the families {', '.join(families)}."
        )


def _serverless_spec(variant: Members, model: Members, capacity: ServerlessCapacity) -> VariantSpec:
    containers = container_specs(model)
    check_model(variant["VariantName"], model, containers)
    return VariantSpec(
        name=variant["VariantName"],
        containers=containers,
        instance_type="",
        instance_count=0,
        weight=_weight(variant),
        volume_bytes=SERVERLESS_VOLUME_BYTES,
        startup_timeout_s=SERVERLESS_STARTUP_TIMEOUT_S,
        download_timeout_s=_DOWNLOAD_TIMEOUT_S,
        serverless=capacity,
    )


def _weight(variant: Members) -> float:
    weight = variant.get("InitialVariantWeight")
    return 1.0 if weight is None else weight


def retain_properties(
    specs: Sequence[VariantSpec], served: Sequence[VariantSpec], excluded: Sequence[str]
) -> list[VariantSpec]:
    """Return `specs` with the counts and weights that the variants of the same names have now (UpdateEndpoint).

    All get the data capture of now. `excluded` names properties that keep the new value: DesiredInstanceCount,
    DesiredWeight, DataCaptureConfig.
    """
    current = {spec.name: spec for spec in served}
    retained = [_retain_properties(spec, current.get(spec.name, spec), excluded) for spec in specs]
    if "DataCaptureConfig" in excluded or not served:
        return retained
    return [replace(spec, capture=served[0].capture) for spec in retained]


def _retain_properties(spec: VariantSpec, current: VariantSpec, excluded: Sequence[str]) -> VariantSpec:
    converted = (spec.serverless is None) is not (current.serverless is None)
    keeps_count = "DesiredInstanceCount" in excluded or converted
    count = spec.instance_count if keeps_count else current.instance_count
    weight = spec.weight if "DesiredWeight" in excluded else current.weight
    return replace(spec, instance_count=count, weight=weight)


def to_json(spec: VariantSpec) -> Members:
    """Return a spec as it is saved with its endpoint."""
    containers = (replace(container, environment=dict(container.environment)) for container in spec.containers)
    return asdict(replace(spec, containers=tuple(containers)))


def from_json(saved: Mapping[str, Any]) -> VariantSpec:
    """Return a saved spec. Raises KeyError or TypeError if members are missing or unknown."""
    members = dict(saved)
    if "container" in members:  # saved by polyhost 0.2
        members["containers"] = [members.pop("container")]
    containers = tuple(ContainerSpec(**container) for container in members.pop("containers"))
    mode = Execution(members.pop("execution", Execution.SERIAL))
    saved_capacity = members.pop("serverless", None)
    capacity = ServerlessCapacity(**saved_capacity) if saved_capacity is not None else None
    saved_capture = members.pop("capture", None)
    capture = CaptureSettings.from_json(saved_capture) if saved_capture is not None else None
    return VariantSpec(**members, containers=containers, execution=mode, serverless=capacity, capture=capture)
