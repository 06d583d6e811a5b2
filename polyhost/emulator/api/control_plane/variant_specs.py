"""Specs for hosting, made of the requests that created models and endpoint configurations."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from polyhost.emulator.api.control_plane.operation import Members
from polyhost.emulator.errors import ValidationException
from polyhost.emulator.hosting.instance_types import DEFAULT_VOLUME_BYTES, TYPES
from polyhost.emulator.hosting.interfaces import ContainerSpec, VariantSpec
from polyhost.model_cache.model_url import ModelData

_GB = 1024**3
_STARTUP_TIMEOUT_S = 480.0  # SageMaker developer guide, "Custom Inference Code with Hosting Services"
_DOWNLOAD_TIMEOUT_S = 3600.0


def container_spec(model: Members) -> ContainerSpec:
    """Translate a CreateModel request. Raises ValidationException for anything that the emulator cannot host."""
    container = _container_of(model)
    multi_model = container.get("Mode") == "MultiModel"
    url = container.get("ModelDataUrl")
    if multi_model and not url:
        raise ValidationException("A container of Mode MultiModel needs ModelDataUrl, the prefix of its models.")
    try:
        data = str(ModelData.parse(url)) if url else None
    except ValueError as error:
        raise ValidationException(str(error)) from None
    if multi_model and data is not None and not data.endswith("/"):
        data += "/"
    caching = (container.get("MultiModelConfig") or {}).get("ModelCacheSetting") or "Enabled"
    environment = container.get("Environment") or {}
    return ContainerSpec(container["Image"], data, multi_model, environment, caching == "Enabled")


def _container_of(model: Members) -> Members:
    containers = [*(model.get("Containers") or []), *filter(None, [model.get("PrimaryContainer")])]
    if len(containers) != 1:
        raise ValidationException(
            "The emulator hosts models of one container, given as PrimaryContainer or in Containers;"
            f" got {len(containers)}."
        )
    container: Members = containers[0]
    if not container.get("Image"):
        raise ValidationException("The container has no Image; the emulator does not support model packages.")
    for member in ("ModelDataSource", "AdditionalModelDataSources"):
        if container.get(member):
            raise ValidationException(f"The emulator does not support {member}; use ModelDataUrl.")
    return container


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
        container=container_spec(model),
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
    return asdict(replace(spec, container=replace(spec.container, environment=dict(spec.container.environment))))


def from_json(saved: Mapping[str, Any]) -> VariantSpec:
    """Return a saved spec. Raises KeyError or TypeError if members are missing or unknown."""
    return VariantSpec(**{**saved, "container": ContainerSpec(**saved["container"])})
