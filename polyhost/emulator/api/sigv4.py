"""The credential scope of requests signed with AWS Signature Version 4. Signatures are not checked."""

from collections.abc import Mapping

from polyhost.emulator.config import DEFAULT_REGION


def credential_scope(headers: Mapping[bytes, bytes]) -> tuple[str, str]:
    """Return (region, service) of the scope that a request is signed for, or (DEFAULT_REGION, "") if it is unsigned."""
    authorization = headers.get(b"authorization", b"").decode("latin-1")
    _, found, rest = authorization.partition("Credential=")
    parts = rest.split(",")[0].split("/")
    return (parts[2], parts[3]) if found and len(parts) >= 5 else (DEFAULT_REGION, "")
