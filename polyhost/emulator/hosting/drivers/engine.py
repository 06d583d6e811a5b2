"""The Docker engine's own API, for statistics that `docker stats` takes seconds for (Docker Engine API)."""

import json
import logging
from typing import Any

import aiohttp

from polyhost.cgroup import ControlGroup
from polyhost.emulator.hosting.interfaces import ResourceUsage

_TIMEOUT = aiohttp.ClientTimeout(total=5)
# The page cache that the kernel can drop at once, of control groups v2 and v1 (docker/cli, stats_helpers.go).
_CACHE = ("inactive_file", "total_inactive_file")

logger = logging.getLogger(__name__)


class Engine:
    """The engine at an address as in DOCKER_HOST. Over ssh or TLS no statistics are read, and a warning says so."""

    def __init__(self, address: str) -> None:
        self._warned = False
        scheme, _, rest = address.partition("://")
        self._url = {"unix": "http://engine", "tcp": f"http://{rest}"}.get(scheme)
        if self._url is None:
            logger.warning(
                "cannot read the memory use of containers from the engine at %s; only 507 evicts models", address
            )
        connector = aiohttp.UnixConnector(rest) if scheme == "unix" else None
        self._http = aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT)

    async def close(self) -> None:
        await self._http.close()

    async def usage(self, container: str, pid: int | None) -> ResourceUsage | None:
        """Return what a container uses, or None if the engine does not say or the container has ended."""
        if self._url is None:
            return None
        query = {"stream": "false", "one-shot": "true"}
        try:
            async with self._http.get(f"{self._url}/containers/{container}/stats", params=query) as response:
                if response.status != 200:  # the container has ended
                    return None
                return usage_of(json.loads(await response.read()), pid)
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
            if not self._warned:
                logger.warning(
                    "cannot read the memory use of containers from the engine: %r; only 507 evicts models", error
                )
            self._warned = True
            return None


def usage_of(stats: dict[str, Any], pid: int | None) -> ResourceUsage | None:
    """Parse ContainerStats; `pid`, the first process of the container, finds the page cache if it is not in them."""
    memory = stats.get("memory_stats") or {}
    used = memory.get("usage")
    if used is None:  # it has just ended
        return None
    details = memory.get("stats") or {}
    cache = next((details[name] for name in _CACHE if name in details), None)
    if cache is None:  # Podman leaves it out
        group = ControlGroup.of(pid) if pid is not None else None
        cache = group.page_cache() if group is not None else 0
    return ResourceUsage(max(0, used - cache), stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9)
