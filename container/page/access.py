"""Who may look at the page: browsers that know the container by a name of its own, with the token if there is one."""

import base64
import binascii
import hmac
from http import HTTPStatus

from polyhost.container.native.errors import Rejection
from polyhost.container.native.parser import HttpRequest
from polyhost.dashboard.host_names import LOOPBACK, is_known_host

_REALM = 'Basic realm="polyhost", charset="UTF-8"'  # a browser asks its user for name and password, and keeps them


class PageAccess:
    """Checks requests for the page. The parser lets an Origin, which web pages send, pass for the page's files only."""

    def __init__(self, names: tuple[str, ...], token: str) -> None:
        """`names`: by which others know this container, besides localhost and IP addresses."""
        self._names = (*LOOPBACK, *names)
        self._token = token.encode()

    def check(self, request: HttpRequest) -> None:
        """Raise Rejection for a request that may not be answered."""
        headers = {name.lower(): value for name, value in request.headers}
        host = headers.get(b"host", b"").decode("latin-1").lower()
        # A stranger's name that resolves to this machine would make a stranger's web page and this one the same origin.
        if not is_known_host(host, self._names):
            message = f"the page does not go by the name {host[:200]!r}; use an IP address, or add it to POLYHOST_PAGE"
            raise Rejection(HTTPStatus.FORBIDDEN, "ForbiddenError", message)
        if self._token and not hmac.compare_digest(_password(headers.get(b"authorization", b"")), self._token):
            message = "the page needs the token of POLYHOST_BEARER_TOKEN as the password, with any name"
            raise Rejection(HTTPStatus.UNAUTHORIZED, "UnauthorizedError", message, www_authenticate=_REALM)
        if request.method not in (b"GET", b"HEAD"):
            message = f"the page is read-only: method {request.method.decode()} is not allowed; use GET"
            raise Rejection(HTTPStatus.METHOD_NOT_ALLOWED, "MethodNotAllowedError", message, allow="GET, HEAD")


def _password(authorization: bytes) -> bytes:
    """Return the token, which programs send as Bearer, and browsers as the password of Basic (RFC 7617)."""
    scheme, _, value = authorization.partition(b" ")
    if scheme.lower() == b"bearer":
        return value
    if scheme.lower() != b"basic":
        return b""
    try:
        return base64.b64decode(value, validate=True).partition(b":")[2]
    except binascii.Error:
        return b""
