"""The fleets of an endpoint by endpoint configuration: one generation, or two and more while it changes."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from polyhost.emulator.errors import ValidationError
from polyhost.emulator.hosting.async_settings import AsyncSettings
from polyhost.emulator.hosting.fleet import DRAIN_S, Fleet
from polyhost.emulator.hosting.interfaces import Platform, VariantFleet, VariantSpec
from polyhost.emulator.hosting.traffic import choose
from polyhost.emulator.hosting.variants import LeavingFleets, Variant, start_variants
from polyhost.emulator.telemetry.recorder import Place


@dataclass(eq=False)
class Generation:
    """The variants of one endpoint configuration, and their share of the endpoint's traffic."""

    config_name: str
    variants: list[Variant]
    async_settings: AsyncSettings | None = None
    share: float = 1.0

    @property
    def lives(self) -> bool:
        """Whether each production variant could serve an invocation now."""
        return all(
            variant.desired_count == 0 or any(instance.in_service for instance in variant.instances)
            for variant in self.variants
            if isinstance(variant.fleet, Fleet) and not variant.spec.shadow
        )

    def fleet_for(self, name: str) -> VariantFleet:
        """Return the fleet that takes over the invocations of another generation's variant."""
        production = [variant for variant in self.variants if not variant.spec.shadow]
        return next((variant.fleet for variant in production if variant.name == name), production[0].fleet)


class Generations:
    """Starts, shares traffic among, and ends generations. The shares of all that are added sum up to 1."""

    def __init__(self, platform: Platform, place: Place) -> None:
        self.all: list[Generation] = []  # the first one is what the endpoint is described by
        self._platform = platform
        self._place = place
        self._leaving = LeavingFleets(platform, place)

    @property
    def variants(self) -> list[Variant]:
        """The variants of all generations."""
        return [variant for generation in self.all for variant in generation.variants]

    @property
    def receiving(self) -> list[Variant]:
        """The variants of the generations that get traffic."""
        return [variant for generation in self.all if generation.share > 0 for variant in generation.variants]

    def choose(self, target: str | None, session: str | None = None) -> Variant:
        """Choose a generation by share, and a production variant of it by weight, or the one of this name.

        A call with a session goes to the variant that opened it. Raises ValidationError if no generation that gets
        traffic has such a variant.
        """
        if session and target is None and (opener := self._opener(session)) is not None:
            return opener
        serving = [generation for generation in self.all if generation.share > 0]
        if len(serving) > 1:
            shares = [generation.share for generation in serving]
            chosen = random.choices(serving, shares)[0]  # noqa: S311 - no secret
            serving = [chosen, *(generation for generation in serving if generation is not chosen)]
        for generation in serving[:-1]:
            try:
                return choose(generation.variants, self._place.endpoint, target)
            except ValidationError:  # another configuration may have the variant
                continue
        return choose(serving[-1].variants if serving else [], self._place.endpoint, target)

    def _opener(self, session: str) -> Variant | None:
        return next(
            (item for item in self.variants if isinstance(item.fleet, Fleet) and item.fleet.has_session(session)), None
        )

    async def start(
        self, config_name: str, specs: Sequence[VariantSpec], settings: AsyncSettings | None = None
    ) -> Generation:
        """Start a generation, which gets no traffic yet. Raises ContainerError with the text of a FailureReason."""
        region, endpoint = self._place.region, self._place.endpoint
        variants = await start_variants(self._platform, region, endpoint, config_name, specs)
        return Generation(config_name, variants, settings, 0.0)

    def add(self, generation: Generation) -> None:
        """Add a generation, which gets all traffic if it is the only one."""
        generation.share = float(not self.all)
        self.all.append(generation)

    def shift(self, generation: Generation, share: float) -> None:
        """Give a generation this share of the traffic; the others share the rest as they did before."""
        others = [other for other in self.all if other is not generation]
        before = sum(other.share for other in others)
        for other in others:
            part = other.share / before if before else 1 / len(others)
            other.share = part * (1 - share)
        generation.share = share

    def keep(self, generation: Generation) -> None:
        """Give a generation all traffic, and let the others finish what they have."""
        for other in [other for other in self.all if other is not generation]:
            self.drop(other, generation)

    def drop(self, generation: Generation, successor: Generation) -> None:
        """Let a generation finish what it has; another one gets its share, and what comes late."""
        self.all.remove(generation)
        successor.share += generation.share
        for variant in generation.variants:
            if not variant.spec.shadow:
                variant.fleet.successor = successor.fleet_for(variant.name)
            self._leaving.add(variant, DRAIN_S)

    async def stop(self, drain_s: float) -> None:
        """Stop everything; without a drain time, also what is leaving already."""
        leaving, self.all = self.all, []
        for generation in leaving:
            for variant in generation.variants:
                self._leaving.add(variant, drain_s)
        if not drain_s:
            self._leaving.hurry()
        await self._leaving.wait()
