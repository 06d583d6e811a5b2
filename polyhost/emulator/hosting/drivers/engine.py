"""The Docker engine's own API, for what its command tells in seconds only (Docker Engine API, ContainerStats)."""

import json
import logging
from typing import Any

import aiohttp

from polyhost.cgroup import ControlGroup
from polyhost.emulator.hosting.interfaces import ResourceUsage

_TIMEOUT = aiohttp.ClientTimeout(total=5)
# The page cache that the kernel can drop at once, of control groups v2 and v1 (docker/cli, stats_helpers.go).
_CACHE = ("inactive_file", "total_inactive_file")

logger = logging.getLogger("polyhost.emulator")


class Engine:
    """`address` is what DOCKER_HOST takes. By way of ssh or TLS nothing is read, and the log says so once."""

    def __init__(self, address: str) -> None:
        self._warned = False
        scheme, _, rest = address.partition("://")
        self._url = {"unix": "http://engine", "tcp": f"http://{rest}"}.get(scheme)
        if self._url is None:
            logger.warning("the engine at %s is not asked how much memory containers use; 507 still evicts", address)
        connector = aiohttp.UnixConnector(rest) if scheme == "unix" else None
        self._http = aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT)

    async def close(self) -> None:
        await self._http.close()

    async def usage(self, container: str, pid: int | None) -> ResourceUsage | None:
        """None where the engine does not tell, or the container is gone."""
        if self._url is None:
            return None
        query = {"stream": "false", "one-shot": "true"}
        try:
            async with self._http.get(f"{self._url}/containers/{container}/stats", params=query) as answer:
                if answer.status != 200:  # the container is gone
                    return None
                return usage_of(json.loads(await answer.read()), pid)
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
            if not self._warned:
                logger.warning("the engine does not tell how much memory containers use: %r; 507 still evicts", error)
            self._warned = True
            return None


def usage_of(stats: dict[str, Any], pid: int | None) -> ResourceUsage | None:
    """Of an answer of the engine's; `pid`, the container's first process, serves where the page cache is not in it."""
    memory = stats.get("memory_stats") or {}
    used = memory.get("usage")
    if used is None:  # it has just ended
        return None
    told = memory.get("stats") or {}
    cache = next((told[name] for name in _CACHE if name in told), None)
    if cache is None:  # Podman leaves it out
        group = ControlGroup.of(pid) if pid is not None else None
        cache = group.page_cache() if group is not None else 0
    return ResourceUsage(max(0, used - cache), stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9)
