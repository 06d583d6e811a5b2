"""How the variants of an endpoint share its traffic, and what a shadow variant gets of it."""

import random
from collections.abc import Sequence

from polyhost.emulator.errors import ValidationError
from polyhost.emulator.hosting.variants import Variant


def choose(variants: Sequence[Variant], endpoint: str, target: str | None) -> Variant:
    """Choose a production variant by weight, or the one of this name. Raises ValidationError if it does not exist."""
    production = [variant for variant in variants if not variant.spec.shadow]
    if target:
        for variant in production:
            if variant.name == target:
                return variant
        raise ValidationError(f"Variant {target} not found for endpoint {endpoint}.")
    if len(production) == 1:
        return production[0]
    weights = [variant.weight for variant in production]
    return random.choices(production, weights if any(weights) else None)[0]  # noqa: S311 - no secret


def choose_shadow(variants: Sequence[Variant]) -> Variant | None:
    """Return the shadow variant if the next invocation is one of those that it gets a copy of."""
    for variant in variants:
        if variant.spec.shadow:
            return variant if random.random() < share(variant, variants) else None  # noqa: S311 - no secret
    return None


def share(variant: Variant, variants: Sequence[Variant]) -> float:
    """Return the share of the invocations that a variant gets: its own, or copies of them if it is a shadow."""
    production = [other for other in variants if not other.spec.shadow]
    total = sum(other.weight for other in production)
    if variant.spec.shadow:
        return min(1.0, variant.weight / total) if total else float(variant.weight > 0)
    return variant.weight / total if total else 1 / len(production)
