"""The containers of a model, as CreateModel describes them: one, a serial pipeline, or several to call directly."""

from collections.abc import Sequence
from dataclasses import replace

from polyhost.emulator.api.control_plane.operation import Members
from polyhost.emulator.errors import ValidationException
from polyhost.emulator.hosting.interfaces import ContainerSpec, Execution
from polyhost.model_cache.model_url import ModelData

_MAX_ENVIRONMENT_BYTES = 32 * 1024  # of all containers of a model (botocore, ContainerDefinition)


def execution(model: Members) -> Execution:
    """Return how a model's containers are called."""
    return Execution((model.get("InferenceExecutionConfig") or {}).get("Mode") or Execution.SERIAL)


def container_specs(model: Members) -> tuple[ContainerSpec, ...]:
    """Translate a CreateModel request. Raises ValidationException for anything that the emulator cannot host."""
    containers = _containers_of(model)
    _check_environment(containers)
    specs = tuple(_container_spec(container) for container in containers)
    direct = execution(model) is Execution.DIRECT
    if len(specs) == 1:
        if direct:
            raise ValidationException(
                "InferenceExecutionConfig of Mode Direct is for Containers, of which it needs two."
            )
        return specs
    if not direct and sum(spec.multi_model for spec in specs) > 1:
        raise ValidationException(
            "More than one container in MultiModel mode is not supported with inference pipeline."
        )
    names = _names(containers, required=direct)
    return tuple(replace(spec, name=name) for spec, name in zip(specs, names, strict=True))


def _containers_of(model: Members) -> list[Members]:
    primary, containers = model.get("PrimaryContainer"), model.get("Containers") or []
    if primary and containers:
        raise ValidationException("A model has PrimaryContainer or Containers, but not both.")
    found = [*containers, *([primary] if primary else [])]
    if not found:
        raise ValidationException("A model needs a container, as PrimaryContainer or in Containers.")
    return found


def _check_environment(containers: Sequence[Members]) -> None:
    """Raise ValidationException if the keys and values of all containers together are too long."""
    maps = [container.get("Environment") or {} for container in containers]
    length = sum(len(text.encode()) for environment in maps for item in environment.items() for text in item)
    if length > _MAX_ENVIRONMENT_BYTES:
        raise ValidationException(
            f"The keys and values of Environment have {length} bytes in all containers together; at most"
            f" {_MAX_ENVIRONMENT_BYTES} are allowed."
        )


def _names(containers: Sequence[Members], required: bool) -> list[str]:
    """Return the containers' names: their host names, or those that the service gives (botocore, ContainerHostname)."""
    names = [container.get("ContainerHostname") or "" for container in containers]
    if not any(names) and not required:
        return [f"container-{number}" for number in range(1, len(names) + 1)]
    if not all(names):
        reason = "Mode Direct calls containers by it" if required else "others of the model have one"
        raise ValidationException(f"Container {names.index('') + 1} has no ContainerHostname; {reason}.")
    if len(set(names)) != len(names):
        raise ValidationException(f"ContainerHostname must be unique, but got {', '.join(names)}.")
    return names


def _container_spec(container: Members) -> ContainerSpec:
    if not container.get("Image"):
        raise ValidationException("The container has no Image; the emulator does not support model packages.")
    for member in ("ModelDataSource", "AdditionalModelDataSources"):
        if container.get(member):
            raise ValidationException(f"The emulator does not support {member}; use ModelDataUrl.")
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
