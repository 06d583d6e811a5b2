"""What obstore's errors mean: each has a line of text, and a page that ends with the cause."""

import re

from polyhost.container.model_store.errors import StoreAccessError, StoreUnreachableError
from polyhost.model_cache.errors import DownloadError, ModelDataMissingError

_MAX_REASON = 300
_REFUSED = (
    "403 Forbidden",
    "401 Unauthorized",
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "AuthenticationFailed",
)
_METADATA_SERVICE = ("169.254.169.254", "169.254.170.2", "169.254.170.23", "metadata.google.internal")
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT",
    "az": "AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, or AZURE_CLIENT_ID with its secret and tenant",
}
_CERTIFICATE = re.compile(r"InvalidCertificate\(\s*(\w+)")
_CAUSE = re.compile(r'\b(?:message|error): "([^"]+)"')


def explained(scheme: str, place: str, error: Exception) -> DownloadError:
    """Return the error of the cache for one of obstore's."""
    text = str(error)
    if isinstance(error, FileNotFoundError):
        return ModelDataMissingError(place)
    reason = _reason(text)
    if any(address in text for address in _METADATA_SERVICE):
        variables = _CREDENTIALS.get(scheme, "the store's variables")
        return StoreAccessError(f"no credentials for {place}: set {variables}, or give this machine a role ({reason})")
    if any(word in text for word in _REFUSED):
        return StoreAccessError(f"access to {place} is refused; check the credentials' permissions ({reason})")
    if (certificate := _CERTIFICATE.search(text)) is not None:
        remedy = "SSL_CERT_FILE names a file of authorities to trust"
        return StoreUnreachableError(f"{place}: its server's certificate is not valid ({certificate[1]}); {remedy}")
    return StoreUnreachableError(f"{place} could not be read: {reason}")


def _reason(text: str) -> str:
    line, _, details = text.partition("\n\nDebug source")
    causes = _CAUSE.findall(details)
    whole = " ".join(f"{line}: {causes[-1]}".split()) if causes else " ".join(line.split())
    return whole[:_MAX_REASON]
