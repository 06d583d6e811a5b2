"""Weights, instance counts and serverless capacities, as UpdateEndpointWeightsAndCapacities changes them."""

from collections.abc import Sequence

from polyhost.emulator.api.control_plane.operation import Members
from polyhost.emulator.api.control_plane.serverless_rules import changed_capacity
from polyhost.emulator.errors import ValidationException
from polyhost.emulator.hosting.endpoint import Endpoint
from polyhost.emulator.hosting.variants import Variant, VariantChanges


def variant_changes(endpoint: Endpoint, items: Sequence[Members]) -> VariantChanges:
    """Translate DesiredWeightsAndCapacities. Raises ValidationException for what a variant does not allow."""
    variants = {variant.name: variant for variant in endpoint.variants}
    changes = VariantChanges({}, {}, {})
    for item in items:
        name = item["VariantName"]
        if name not in variants:
            raise ValidationException(
                f'The variant name(s) "{name}" is/are not present within endpoint configuration'
                f' "{endpoint.config_name}". It has {", ".join(variants)}.'
            )
        if (weight := item.get("DesiredWeight")) is not None:
            changes.weights[name] = weight
        if (count := item.get("DesiredInstanceCount")) is not None:
            changes.counts[name] = _count(endpoint, variants[name], count)
        if (update := item.get("ServerlessUpdateConfig")) is not None:
            current = variants[name].capacity
            if current is None:
                raise ValidationException(
                    f"Variant {name} is not serverless; ServerlessUpdateConfig is for serverless variants, and"
                    " DesiredInstanceCount for those with instances."
                )
            changes.capacities[name] = changed_capacity(name, current, update)
    return changes


def _count(endpoint: Endpoint, variant: Variant, count: int) -> int:
    if variant.capacity is not None:
        raise ValidationException(
            f"Variant {variant.name} is serverless and has no instances; use ServerlessUpdateConfig in place of"
            " DesiredInstanceCount."
        )
    if count == 0 and endpoint.async_settings is None:
        raise ValidationException(f"DesiredInstanceCount of variant {variant.name} must be at least 1.")
    return count
