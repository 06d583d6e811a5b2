"""Signatures of requests to AWS's runtime API (AWS Signature Version 4), checked as the service checks them.

The canonical form and the signature are botocore's own, which the inference toolkit brings; imported only where
signatures are checked.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from botocore.auth import SIGV4_TIMESTAMP, SigV4Auth
from botocore.awsrequest import AWSRequest, HTTPHeaders
from botocore.credentials import Credentials

from polyhost.container.native.parser import HttpRequest
from polyhost.runtime_api.errors import (
    IncompleteSignature,
    InvalidSignature,
    MissingAuthenticationToken,
    UnrecognizedClient,
)

_ALGORITHM = "AWS4-HMAC-SHA256"
_SERVICE = "sagemaker"  # botocore, sagemaker-runtime: signingName
_SKEW = timedelta(minutes=15)
_CREDENTIAL = re.compile(r"([^/]+)/(\d{8})/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request")
_CONTENT_HASH = "x-amz-content-sha256"
# Those of AWS's own that clients do not sign: load balancers add it on the way.
_MAY_BE_UNSIGNED = frozenset({"x-amzn-trace-id"})
_WRONG = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key"
    " and signing method. Consult the service documentation for details."
)


class SignatureCheck:
    """Checks requests against the secret keys that are given by the ids of access keys."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._credentials = {key_id: Credentials(key_id, secret) for key_id, secret in keys.items()}

    def check(self, request: HttpRequest, now: datetime | None = None) -> None:
        """Raise AwsError for a request that is not signed by one of the keys, at about this time.

        The body is always part of what is signed; signatures in the query are not taken.
        """
        headers = _headers(request)
        key_id, scope, names, given = _parse(headers.get_all("authorization", []))
        credentials = self._credentials.get(key_id)
        if credentials is None:
            raise UnrecognizedClient("The security token included in the request is invalid.")
        region = _check_scope(scope, headers)
        _check_time(headers["x-amz-date"], now or datetime.now(UTC))
        _check_names(names, headers)
        body_hash = _body_hash(request, headers)
        expected = _signature(SigV4Auth(credentials, _SERVICE, region), request, headers, names, body_hash)
        if not hmac.compare_digest(expected.encode(), given.encode()):
            raise InvalidSignature(_WRONG)


def _headers(request: HttpRequest) -> Any:
    headers = HTTPHeaders()
    for name, value in request.headers:
        headers[name.decode("latin-1").lower()] = value.decode("latin-1")  # adds to others of this name
    return headers


def _parse(authorizations: list[str]) -> tuple[str, tuple[str, str, str], list[str], str]:
    """Return the access key's id, the scope (date, region, service), the signed headers' names, and the signature."""
    if len(authorizations) != 1 or not authorizations[0].startswith(_ALGORITHM):
        raise MissingAuthenticationToken("Missing Authentication Token")
    parts = authorizations[0].removeprefix(_ALGORITHM).split(",")
    found = {name.strip(): value.strip() for name, _, value in (part.partition("=") for part in parts)}
    for name in ("Credential", "Signature", "SignedHeaders"):
        if not found.get(name):
            raise IncompleteSignature(f"Authorization header requires {name!r} parameter.")
    credential = _CREDENTIAL.fullmatch(found["Credential"])
    if credential is None:
        raise IncompleteSignature("Credential must have the form KEY/DATE/REGION/SERVICE/aws4_request.")
    key_id, date, region, service = credential.groups()
    return key_id, (date, region, service), found["SignedHeaders"].split(";"), found["Signature"]


def _check_scope(scope: tuple[str, str, str], headers: Any) -> str:
    """Return the region, of which a container has none: any will do."""
    date, region, service = scope
    if len(headers.get_all("x-amz-date", [])) != 1:
        raise IncompleteSignature("Authorization header requires existence of one 'X-Amz-Date' header.")
    if service != _SERVICE:
        raise InvalidSignature(f"Credential should be scoped to correct service: {_SERVICE!r}.")
    if not headers["x-amz-date"].startswith(date):
        raise InvalidSignature(f"Date in Credential scope does not match X-Amz-Date: {date}.")
    return region


def _check_time(stamp: str, now: datetime) -> None:
    try:
        signed = datetime.strptime(stamp, SIGV4_TIMESTAMP).replace(tzinfo=UTC)
    except ValueError:
        raise IncompleteSignature(f"Date must be in ISO-8601 'basic format'. Got {stamp[:50]!r}.") from None
    earliest, latest = now - _SKEW, now + _SKEW
    if signed < earliest:
        raise InvalidSignature(f"Signature expired: {stamp} is now earlier than {earliest:{SIGV4_TIMESTAMP}}.")
    if signed > latest:
        raise InvalidSignature(f"Signature not yet current: {stamp} is still later than {latest:{SIGV4_TIMESTAMP}}.")


def _check_names(names: list[str], headers: Any) -> None:
    """Have all signed that says what is asked for: a header that is not could be changed on the way."""
    for name in names:
        if name not in headers:
            raise InvalidSignature(f"The header {name[:100]!r} is signed and missing.")
    demanded = {"host"} | {name for name in headers if name.startswith("x-amz")} - _MAY_BE_UNSIGNED
    if missing := sorted(demanded - set(names)):
        raise InvalidSignature(f"{missing[0]!r} must be a 'SignedHeader' in the AWS Authorization.")


def _body_hash(request: HttpRequest, headers: Any) -> str:
    found = hashlib.sha256(request.body).hexdigest()
    if any(given != found for given in headers.get_all(_CONTENT_HASH, [])):
        raise InvalidSignature(
            "X-Amz-Content-SHA256 must be the hash of the body: this container takes neither UNSIGNED-PAYLOAD nor"
            " payloads that are signed in chunks."
        )
    return found


def _signature(auth: Any, request: HttpRequest, headers: Any, names: list[str], body_hash: str) -> str:
    signed = HTTPHeaders()
    for name in names:
        for value in headers.get_all(name):
            signed[name] = value
    # The path as clients send it: with %2F and %25 as they came (HttpRequest).
    path = quote(request.path, safe="/%~")
    url = f"http://container{path}?{request.query.decode('latin-1')}"
    canonical = AWSRequest(request.method.decode(), url, {_CONTENT_HASH: body_hash})
    canonical.context["timestamp"] = headers["x-amz-date"]
    auth.headers_to_sign = lambda _: signed
    return str(auth.signature(auth.string_to_sign(canonical, auth.canonical_request(canonical)), canonical))
