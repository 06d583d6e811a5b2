"""A shadow variant, promoted in the end."""

from tests.emulator.sdks.v3.common import INSTANCE, config, container, endpoint, invoke, model, update, variant


def main(name: str) -> None:
    production, shadow = f"{name}-production", f"{name}-shadow"
    variants = [variant(each, **INSTANCE) for each in (production, shadow)]
    with (
        model(production, container(name, "production")),
        model(shadow, container(name, "shadow")),
        config(shadow, variants[1]),
        endpoint(name, variants[0], shadow_production_variants=[variants[1]]) as created,
    ):
        assert [each.variant_name for each in created.shadow_production_variants] == [shadow]
        assert {invoke(created)["name"] for _ in range(5)} == {"production"}
        update(created, shadow)
        assert invoke(created)["name"] == "shadow"
