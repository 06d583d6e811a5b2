"""What AWS allows and rejects of serverless variants (developer guide, serverless-endpoints; botocore)."""

from collections.abc import Sequence

from polyhost.emulator.api.control_plane.capture_configs import captures
from polyhost.emulator.api.control_plane.operation import Members
from polyhost.emulator.errors import ResourceLimitExceeded, ValidationException
from polyhost.emulator.hosting.endpoint import Endpoint
from polyhost.emulator.hosting.interfaces import ContainerSpec, ServerlessCapacity, VariantSpec

SERVERLESS_STARTUP_TIMEOUT_S = 180.0  # developer guide, serverless-endpoints-invoke
SERVERLESS_VOLUME_BYTES = 5 << 30
_MEMORY_STEP_MB = 1024
_MEMORY_SIZES_MB = range(_MEMORY_STEP_MB, 6 * _MEMORY_STEP_MB + 1, _MEMORY_STEP_MB)
# Members of a variant that are about instances and their containers.
_OF_INSTANCES = (
    "InstanceType",
    "InitialInstanceCount",
    "InstancePools",
    "AcceleratorType",
    "AcceleratorPartitionLayouts",
    "CapacityReservationConfig",
    "ContainerStartupHealthCheckTimeoutInSeconds",
    "CoreDumpConfig",
    "EnableSSMAccess",
    "InferenceAmiVersion",
    "ManagedInstanceScaling",
    "ModelDataDownloadTimeoutInSeconds",
    "RoutingConfig",
    "VariantInstanceProvisionTimeoutInSeconds",
    "VolumeSizeInGB",
)
_OF_REALTIME_CONFIGS = (
    "AsyncInferenceConfig",
    "EnableNetworkIsolation",
    "ExplainerConfig",
    "ShadowProductionVariants",
    "VpcConfig",
)
_UNSUPPORTED = "One or more endpoint features are not supported using this configuration."  # AWS's sentence
_MAX_ENDPOINTS = 50
_CONCURRENCY = 500  # the total of a region
_CONCURRENCY_OF_LARGE_REGIONS = 1000
_LARGE_REGIONS = (
    "ap-northeast-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "eu-central-1",
    "eu-west-1",
    "us-east-1",
    "us-east-2",
    "us-west-2",
)


def serverless_capacity(variant: Members) -> ServerlessCapacity | None:
    """Return what ServerlessConfig says, or None for a variant of instances. Raises ValidationException."""
    config = variant.get("ServerlessConfig")
    if config is None:
        return None
    name = variant["VariantName"]
    if given := [member for member in _OF_INSTANCES if variant.get(member)]:
        raise ValidationException(
            f"Variant {name} has ServerlessConfig and {', '.join(given)}; a serverless variant has no instances: leave"
            " out one or the other."
        )
    memory_mb = config["MemorySizeInMB"]
    if memory_mb not in _MEMORY_SIZES_MB:
        sizes = ", ".join(map(str, _MEMORY_SIZES_MB))
        raise ValidationException(f"MemorySizeInMB of variant {name} is {memory_mb}; valid values are {sizes}.")
    return _checked(name, config["MaxConcurrency"], config.get("ProvisionedConcurrency") or 0, memory_mb)


def changed_capacity(name: str, current: ServerlessCapacity, update: Members) -> ServerlessCapacity:
    """Return the capacity with what ServerlessUpdateConfig changes. Raises ValidationException."""
    most = update.get("MaxConcurrency") or current.max_concurrency
    provisioned = update.get("ProvisionedConcurrency") or current.provisioned
    return _checked(name, most, provisioned, current.memory_mb)


def serverless_config(capacity: ServerlessCapacity) -> Members:
    """Return a capacity as DescribeEndpoint describes it."""
    described = {"MemorySizeInMB": capacity.memory_mb, "MaxConcurrency": capacity.max_concurrency}
    return described | ({"ProvisionedConcurrency": capacity.provisioned} if capacity.provisioned else {})


def check_model(variant: str, model: Members, containers: Sequence[ContainerSpec]) -> None:
    """Raise ValidationException for a model that a serverless variant cannot have."""
    found = {
        "inference pipelines and multi-container endpoints": len(containers) > 1,
        "multi-model endpoints": any(container.multi_model for container in containers),
        "network isolation": model.get("EnableNetworkIsolation"),
        "VPC configuration": model.get("VpcConfig"),
        "private Docker registries": any(
            (container.get("ImageConfig") or {}).get("RepositoryAccessMode") == "Vpc"
            for container in (model.get("PrimaryContainer") or {}, *(model.get("Containers") or []))
        ),
    }
    if unsupported := [words for words, given in found.items() if given]:
        raise ValidationException(
            f"{_UNSUPPORTED} Serverless Inference does not support {', '.join(unsupported)}, which the model"
            f" {model['ModelName']} of variant {variant} needs."
        )


def check_config(config: Members, specs: Sequence[VariantSpec]) -> None:
    """Raise ValidationException for what an endpoint configuration cannot have beside a serverless variant."""
    serverless = next((spec for spec in specs if spec.serverless is not None), None)
    if serverless is None:
        return
    given = [member for member in _OF_REALTIME_CONFIGS if config.get(member)]
    if captures(config):
        given.append("DataCaptureConfig")
    if given:
        raise ValidationException(
            f"{_UNSUPPORTED} Serverless Inference does not support {', '.join(given)}, and variant {serverless.name}"
            " has ServerlessConfig."
        )
    if len(specs) > 1:
        raise ValidationException(
            f"{_UNSUPPORTED} Serverless Inference does not support multiple production variants, and variant"
            f" {serverless.name} of {len(specs)} has ServerlessConfig."
        )


def check_update(endpoint: Endpoint, specs: Sequence[VariantSpec], deployment: Members) -> None:
    """Raise ValidationException for an update that makes instances serverless, or that is rolling and serverless."""
    serverless = [spec.name for spec in specs if spec.serverless is not None]
    if not serverless:
        return
    if any(variant.spec.serverless is None for variant in endpoint.variants):
        raise ValidationException(
            f'Cannot update endpoint "{endpoint.arn}": an instance-based endpoint cannot be converted to a serverless'
            " endpoint. Create another endpoint."
        )
    if deployment.get("RollingUpdatePolicy"):
        raise ValidationException(
            f'Cannot update endpoint "{endpoint.arn}": RollingUpdatePolicy is not supported for serverless endpoints.'
            " Use BlueGreenUpdatePolicy, or leave out DeploymentConfig."
        )


def check_quotas(region: str, others: Sequence[Endpoint], concurrency: int) -> None:
    """Raise ResourceLimitExceeded if an endpoint of this concurrency is too much beside the region's other ones."""
    used = [number for number in map(_concurrency_of_endpoint, others) if number]
    _check_quota("Number of serverless endpoints", _MAX_ENDPOINTS, len(used), 1, "Endpoints")
    most = _CONCURRENCY_OF_LARGE_REGIONS if region in _LARGE_REGIONS else _CONCURRENCY
    _check_quota("Total concurrency across all serverless endpoints", most, sum(used), concurrency, "Invocations")


def concurrency_of(specs: Sequence[VariantSpec]) -> int:
    """Return the calls that serverless variants may serve at the same time, 0 without any."""
    return sum(spec.serverless.max_concurrency for spec in specs if spec.serverless is not None)


def _concurrency_of_endpoint(endpoint: Endpoint) -> int:
    coming = endpoint.deployment.specs if endpoint.deployment is not None else ()
    return max(concurrency_of(coming), concurrency_of([variant.current_spec for variant in endpoint.variants]))


def _check_quota(name: str, limit: int, used: int, more: int, unit: str) -> None:
    if used + more > limit:
        raise ResourceLimitExceeded(
            f"The account-level service limit '{name}' is {limit} {unit}, with current utilization of {used} {unit} and"
            f" a request delta of {more} {unit}. Please use AWS Service Quotas to request an increase for this quota."
            " If AWS Service Quotas is not available, contact AWS support to request an increase for this quota."
        )


def _checked(name: str, most: int, provisioned: int, memory_mb: int) -> ServerlessCapacity:
    if provisioned > most:
        raise ValidationException(
            f"ProvisionedConcurrency of variant {name} is {provisioned}; it must be less than or equal to"
            f" MaxConcurrency, which is {most}."
        )
    return ServerlessCapacity(memory_mb, most, provisioned)
