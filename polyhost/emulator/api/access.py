"""Access control by Host and Origin: programs and the emulator's own dashboard may call, other web pages may not.

A browser sends requests on behalf of any page that it has open, and a page that could create an endpoint would start
processes on this machine.
"""

from collections.abc import Mapping

from polyhost.dashboard.host_names import LOOPBACK, is_known_host
from polyhost.emulator.errors import AccessDenied

# And the names below them, as S3's buckets have. Clients that take the emulator for AWS itself, by /etc/hosts or a
# proxy, use the last three.
_NAMES = (*LOOPBACK, "amazonaws.com", "amazonaws.com.cn", "on.aws")


class AccessPolicy:
    """Decides which requests are served.

    `host` is the address or name to listen on; `loopback` says that only this machine can reach it. Other machines may
    know the emulator by any name.
    """

    def __init__(self, host: str, loopback: bool) -> None:
        self._names = (*_NAMES, host.lower())
        self._loopback = loopback

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Raise AccessDenied for a request of a foreign web page, or one to a name that is not the emulator's."""
        host, known = self.check_host(headers)
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if origin and not (known and origin == f"http://{host}"):
            raise AccessDenied(f"The emulator rejects requests from other web pages, such as those of {origin}.")

    def check_host(self, headers: Mapping[bytes, bytes]) -> tuple[str, bool]:
        """Return the name that the request is for, and whether it is one of the emulator's. Raises AccessDenied."""
        host = headers.get(b"host", b"").decode("latin-1").lower()
        known = is_known_host(host, self._names)
        if self._loopback and not known:
            raise AccessDenied(f"The emulator does not go by the name {host!r}; use 127.0.0.1 or localhost.")
        return host, known
