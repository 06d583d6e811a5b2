"""The endpoint that an invocation is for."""

from typing import Protocol

from polyhost.emulator.config import ACCOUNT
from polyhost.emulator.errors import ValidationError
from polyhost.emulator.hosting.endpoint import Endpoint


class EndpointLookup(Protocol):
    """The part of the control plane that the runtime needs."""

    def find_exact(self, region: str, name: str) -> Endpoint | None:
        """Return the endpoint of exactly this name."""


def serving_endpoint(endpoints: EndpointLookup, region: str, name: str) -> Endpoint:
    """Return an endpoint that takes invocations. Raises ValidationError, in AWS's words, without one."""
    endpoint = endpoints.find_exact(region, name)
    if endpoint is None or not endpoint.serving:
        raise ValidationError(f"Endpoint {name} of account {ACCOUNT} not found.")
    return endpoint
