"""Names of this machine that no stranger can make resolve to it (DNS rebinding)."""

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

LOOPBACK = ("localhost", "host.docker.internal", "host.containers.internal")


def is_known_host(host: str, names: Sequence[str]) -> bool:
    """Return whether a Host header, in lower case, has an IP address, one of these names, or one below them."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return any(name == known or name.endswith(f".{known}") for known in names)
    return True
