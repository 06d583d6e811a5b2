"""Who may call: programs, and the emulator's own page. A browser sends requests for any page that it has open, and a
page that could create an endpoint would start processes here."""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from polyhost.emulator.errors import AccessDenied

# Names that no stranger can have resolved to this machine (DNS rebinding), with those below them, as S3's buckets are.
# Clients that take the emulator for AWS itself, by /etc/hosts or a proxy, use the last two.
_NAMES = ("localhost", "host.docker.internal", "host.containers.internal", "amazonaws.com", "amazonaws.com.cn")


class Callers:
    """`host` is what the emulator was told to listen on, `loopback` whether only this machine reaches it there: other
    machines may know it by any name."""

    def __init__(self, host: str, loopback: bool) -> None:
        self._names = (*_NAMES, host.lower())
        self._loopback = loopback

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Raises AccessDenied."""
        host = headers.get(b"host", b"").decode("latin-1").lower()
        known = self._is_known(host)
        if self._loopback and not known:
            raise AccessDenied(f"The emulator is not known as {host!r}; call it by 127.0.0.1 or localhost.")
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if origin and not (known and origin == f"http://{host}"):
            raise AccessDenied(f"The emulator takes no requests of other pages, such as those of {origin}.")

    def _is_known(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return any(name == known or name.endswith(f".{known}") for known in self._names)
        return True
