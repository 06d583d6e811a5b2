"""What cannot be scaled, and limits that a variant does not allow."""

from collections.abc import Sequence

from polyhost.emulator.autoscaling.scalable_target import Dimension, TargetId, scalable_targets
from polyhost.emulator.autoscaling.service import AutoScaling
from polyhost.emulator.errors import ValidationException
from polyhost.emulator.hosting.endpoint import Endpoint
from polyhost.emulator.hosting.interfaces import VariantSpec


def check_scalable(scaling: AutoScaling, region: str, target: TargetId) -> None:
    """Raise ValueError if there is no such variant, or if the dimension is not its."""
    found = scaling.variant(region, target)
    if found is None:
        raise ValueError(
            f"SageMaker endpoint variant does not exist: {target.resource_id}. Create the endpoint first, and mind the"
            " case of its name."
        )
    serverless = found[1].current_spec.serverless
    if target.dimension is Dimension.INSTANCES and serverless is not None:
        raise ValueError(
            f"Variant {target.variant} is serverless and has no instances; use the scalable dimension"
            f" {Dimension.PROVISIONED}."
        )
    if target.dimension is Dimension.PROVISIONED and (serverless is None or not serverless.provisioned):
        raise ValueError(
            f"Variant {target.variant} has no provisioned concurrency; ServerlessConfig must have"
            " ProvisionedConcurrency before it can be scaled."
        )


def check_limits(scaling: AutoScaling, region: str, target: TargetId, least: int, most: int) -> None:
    """Raise ValueError for limits that the variant cannot have."""
    if least < 0 or most < 0:
        raise ValueError("MinCapacity and MaxCapacity must be 0 or more.")
    if most < least:
        raise ValueError("Maximum capacity cannot be less than minimum capacity")
    if (found := scaling.variant(region, target)) is None:
        return
    endpoint, variant = found
    serverless = variant.current_spec.serverless
    if serverless is not None:
        if least < 1:
            raise ValueError(f"MinCapacity of {target.resource_id} is {least}; provisioned concurrency begins at 1.")
        if most > serverless.max_concurrency:
            raise ValueError(
                f"MaxCapacity of {target.resource_id} is {most}; it must not be above the variant's MaxConcurrency,"
                f" {serverless.max_concurrency}."
            )
    elif least == 0 and endpoint.async_settings is None:
        raise ValueError(
            f"MinCapacity of {target.resource_id} is 0, which only variants of asynchronous endpoints may have."
        )


def check_update_of_scaled(endpoint: Endpoint, specs: Sequence[VariantSpec]) -> None:
    """Raise ValidationException, with AWS's words, if an update takes a scalable variant away or changes its type."""
    scaled = {target.variant for target in scalable_targets(endpoint.region) if target.endpoint == endpoint.name}
    types = {spec.name: spec.instance_type for spec in specs}
    lost = [
        variant.name
        for variant in endpoint.variants
        if variant.name in scaled and types.get(variant.name) != variant.spec.instance_type
    ]
    if lost:
        raise ValidationException(
            f'The variant(s) "{", ".join(lost)}" must be deregistered as scalable targets with AWS Auto Scaling before'
            " they can be removed or have their instance type updated."
        )
