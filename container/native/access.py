"""Who may invoke models of a store: clients with the bearer token, and those that sign for AWS's runtime API."""

import hmac
from http import HTTPStatus
from typing import TYPE_CHECKING

from polyhost.container.errors import ConfigError
from polyhost.container.model_store.secrets import StoreSecrets
from polyhost.container.native.errors import Rejection
from polyhost.container.native.parser import HttpRequest
from polyhost.runtime_api.errors import AccessDenied

if TYPE_CHECKING:
    from polyhost.container.model_store.signatures import SignatureCheck

_AUTHORIZATION = b"authorization"


class Access:
    """Checks requests, if a token or signing keys are set, and takes the token out of what a model gets to see."""

    def __init__(self, secrets: StoreSecrets) -> None:
        """Take what clients are asked for. Raises ConfigError."""
        self._token = f"Bearer {secrets.bearer_token}".encode() if secrets.bearer_token else b""
        self._signatures = _signature_check(secrets) if secrets.signing_keys else None

    def check(self, request: HttpRequest) -> None:
        """Raise Rejection for a request of the container's API without the token."""
        if self._token and not self.has_token(request):
            message = (
                "the request needs the header Authorization: Bearer TOKEN, with the token of POLYHOST_BEARER_TOKEN"
            )
            raise Rejection(HTTPStatus.UNAUTHORIZED, "UnauthorizedError", message, www_authenticate="Bearer")

    def check_endpoint(self, request: HttpRequest) -> None:
        """Raise AwsError for a request of AWS's runtime API that is neither signed nor has the token."""
        if self._token and not self.has_token(request, take=False):
            if self._signatures is None:
                raise AccessDenied("The request needs the bearer token of POLYHOST_BEARER_TOKEN.")
            self._signatures.check(request)

    def has_token(self, request: HttpRequest, *, take: bool = True) -> bool:
        """Return whether the request has the token, or needs none; `take`: remove the header."""
        if not self._token:
            return True
        given = [value for name, value in request.headers if name.lower() == _AUTHORIZATION]
        if take:
            request.headers = [header for header in request.headers if header[0].lower() != _AUTHORIZATION]
        return len(given) == 1 and hmac.compare_digest(given[0], self._token)


def _signature_check(secrets: StoreSecrets) -> "SignatureCheck":
    try:
        from polyhost.container.model_store.signatures import SignatureCheck  # only here: it takes 0.1 s
    except ImportError as error:
        raise ConfigError(
            f"POLYHOST_SIGNING_KEYS takes the package botocore ({error}); pip install 'polyhost[serve]'"
        ) from None
    return SignatureCheck(secrets.signing_keys)
