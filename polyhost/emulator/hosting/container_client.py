"""The container's HTTP contract (developer guide, mms-container-apis and your-algorithms-inference-code)."""

import json
import time
from collections.abc import Mapping

import aiohttp

from polyhost.emulator.errors import ContainerGone, ContainerTimeout
from polyhost.emulator.hosting.interfaces import Answer, Relay

PING_TIMEOUT_S = 2.0
LOAD_TIMEOUT_S = 600.0
UNLOAD_TIMEOUT_S = 360.0
STREAM_TIMEOUT_S = 480.0  # developer guide, "Model Hosting FAQs"
_CLOSED_WITHIN_S = 0.5
_SKIPPED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


def session() -> aiohttp.ClientSession:
    """For all containers: connections are kept, answers stay as they came."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
    return aiohttp.ClientSession(
        connector=connector, auto_decompress=False, skip_auto_headers=_SKIPPED, trust_env=False
    )


class ContainerClient:
    """Every call raises ContainerGone or ContainerTimeout."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url
        self._last_error = -_CLOSED_WITHIN_S

    async def ping(self) -> bool:
        try:
            return (await self._call("GET", "/ping", timeout_s=PING_TIMEOUT_S)).status == 200
        except (ContainerGone, ContainerTimeout):
            return False

    async def load(self, key: str, url: str, target_model: str) -> Answer:
        body = json.dumps({"model_name": key, "url": url}).encode()
        headers = {"Content-Type": "application/json", "X-Amzn-SageMaker-Target-Model": target_model}
        return await self._call("POST", "/models", body, headers, LOAD_TIMEOUT_S)

    async def is_loaded(self, key: str) -> bool:
        return (await self._call("GET", f"/models/{key}", timeout_s=PING_TIMEOUT_S)).status == 200

    async def unload(self, key: str) -> Answer:
        return await self._call("DELETE", f"/models/{key}", timeout_s=UNLOAD_TIMEOUT_S)

    async def invoke(
        self,
        key: str | None,
        body: bytes,
        headers: Mapping[str, str],
        timeout_s: float,
        relay: Relay | None = None,
    ) -> Answer:
        """`key`: the model's, or None for the one model of a container that has one."""
        path = "/invocations" if key is None else f"/models/{key}/invoke"
        return await self._call("POST", path, body, headers, timeout_s, relay)

    async def _call(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
        relay: Relay | None = None,
    ) -> Answer:
        start = time.perf_counter()
        try:
            response, content = await self._exchange(method, path, body, headers, timeout_s, relay)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            # MMS closes the connection behind every error and calls it kept alive all the same (NettyUtils.java), so
            # the next request on it may find it closed. Only then may a request be sent twice.
            if time.perf_counter() - self._last_error > _CLOSED_WITHIN_S or (relay is not None and relay.begun):
                raise ContainerGone(f"the container gave no answer to {method} {path}: {error}") from None
            return await self._call(method, path, body, headers, timeout_s, relay)
        took = int((time.perf_counter() - start) * 1e6)
        if response.status >= 400:
            self._last_error = time.perf_counter()
        return Answer(response.status, _lower(response), content, took)

    async def _exchange(
        self,
        method: str,
        path: str,
        body: bytes,
        headers: Mapping[str, str] | None,
        timeout_s: float,
        relay: Relay | None,
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        if relay is None:
            timeout = aiohttp.ClientTimeout(total=timeout_s)
        else:  # a stream may take longer than that, but not pause for as long
            timeout = aiohttp.ClientTimeout(total=STREAM_TIMEOUT_S, sock_read=timeout_s)
        try:
            async with self._http.request(
                method, self._url + path, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                if relay is None or not 200 <= response.status < 300:
                    return response, await response.read()
                await relay.begin(response.status, _lower(response))
                async for piece in response.content.iter_any():
                    await relay.send(piece)
                return response, b""
        except TimeoutError:
            raise ContainerTimeout(f"{method} {path} was not answered within {timeout_s:.0f} s") from None
        except aiohttp.ClientConnectorError as error:
            raise ContainerGone(f"the container does not listen: {error}", may_retry=True) from None
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            raise
        except (aiohttp.ClientError, ConnectionError) as error:
            raise ContainerGone(f"the container gave no answer to {method} {path}: {error}") from None


def _lower(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}
