"""What an invocation is for: a container of a multi-container endpoint, a model of a multi-model container."""

import uuid
from typing import NamedTuple

from polyhost.emulator.errors import ValidationError
from polyhost.emulator.hosting.interfaces import VariantSpec


class Target(NamedTuple):
    """TargetModel and TargetContainerHostname, None where they are not given."""

    model: str | None
    container: str | None

    def check(self, endpoint: str, variant: VariantSpec) -> None:
        """Raise ValidationError if the variant cannot serve it, or if it is not enough to tell."""
        self._check_container(endpoint, variant)
        chosen = variant.container_for(self.container)
        multi_model = chosen is not None and chosen.multi_model
        if multi_model and self.model is None:
            raise ValidationError(f"Request {uuid.uuid4()} is missing a target model header")
        if self.model is not None and not multi_model:
            raise ValidationError(
                f"Endpoint {endpoint} is not a multi-model endpoint and does not support target model header."
            )

    def _check_container(self, endpoint: str, variant: VariantSpec) -> None:
        known = [container.name for container in variant.containers]
        if not variant.direct:
            if self.container is not None:
                raise ValidationError(
                    f"Endpoint {endpoint} is not configured for direct invocation of its containers and does not"
                    " support target container hostname header."
                )
        elif self.container is None:
            raise ValidationError(
                f"Endpoint {endpoint} is configured for direct invocation, and the request is missing a target"
                f" container hostname header; its containers are {', '.join(known)}."
            )
        elif self.container not in known:
            raise ValidationError(
                f"Target container hostname {self.container} does not exist at endpoint {endpoint}; its containers are"
                f" {', '.join(known)}."
            )
