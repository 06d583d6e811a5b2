"""Specs for hosting, made of the requests that created models and endpoint configurations."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from polyhost.emulator.api.control_plane.container_specs import container_specs, execution
from polyhost.emulator.api.control_plane.operation import Members
from polyhost.emulator.errors import ValidationException
from polyhost.emulator.hosting.instance_types import DEFAULT_VOLUME_BYTES, TYPES
from polyhost.emulator.hosting.interfaces import ContainerSpec, Execution, VariantSpec

_GB = 1024**3
_STARTUP_TIMEOUT_S = 480.0  # SageMaker developer guide, "Custom Inference Code with Hosting Services"
_DOWNLOAD_TIMEOUT_S = 3600.0


def variant_spec(variant: Members, model: Members) -> VariantSpec:
    """Translate a variant of a CreateEndpointConfig request, and the CreateModel request of its model.

    Raises ValidationException for anything that the emulator cannot host.
    """
    for needed in ("InstanceType", "InitialInstanceCount"):
        if variant.get(needed) is None:
            raise ValidationException(
                f"Variant {variant['VariantName']} has no {needed}; the emulator hosts instances only."
            )
    if variant["InstanceType"] not in TYPES:
        families = sorted({known.split(".")[1] for known in TYPES})
        raise ValidationException(
            f"Variant {variant['VariantName']}: the emulator does not know the memory of {variant['InstanceType']};"
            f" it knows the families {', '.join(families)}."
        )
    volume = variant.get("VolumeSizeInGB")
    weight = variant.get("InitialVariantWeight")
    return VariantSpec(
        name=variant["VariantName"],
        containers=container_specs(model),
        execution=execution(model),
        instance_type=variant["InstanceType"],
        instance_count=variant["InitialInstanceCount"],
        weight=1.0 if weight is None else weight,
        volume_bytes=volume * _GB if volume else DEFAULT_VOLUME_BYTES,
        startup_timeout_s=variant.get("ContainerStartupHealthCheckTimeoutInSeconds") or _STARTUP_TIMEOUT_S,
        download_timeout_s=variant.get("ModelDataDownloadTimeoutInSeconds") or _DOWNLOAD_TIMEOUT_S,
    )


def retain_properties(
    specs: Sequence[VariantSpec], served: Sequence[VariantSpec], excluded: Sequence[str]
) -> list[VariantSpec]:
    """Return `specs` with the counts and weights that the variants of the same names have now (UpdateEndpoint).

    `excluded` names properties that keep the new value: DesiredInstanceCount, DesiredWeight.
    """
    current = {spec.name: spec for spec in served}
    return [_retain_properties(spec, current.get(spec.name, spec), excluded) for spec in specs]


def _retain_properties(spec: VariantSpec, current: VariantSpec, excluded: Sequence[str]) -> VariantSpec:
    count = spec.instance_count if "DesiredInstanceCount" in excluded else current.instance_count
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
    return VariantSpec(**members, containers=containers, execution=mode)
